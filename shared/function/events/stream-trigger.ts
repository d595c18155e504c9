import { eventsSettings, follow, type LoggedEvent } from '#events'
import type { Message } from '#telemetry'
import type { FunctionDefinition } from '../definition.ts'
import { deliverBatch } from './deliver-batch.ts'
import { deliver, type RunningTrigger, untilResumed, waitsForResume } from './trigger.ts'

/** Follows a stream function's topics. Throws a ConfigError. */
export function startStream(definition: FunctionDefinition): RunningTrigger {
  const { trigger } = definition
  if (trigger.kind !== 'stream') throw new Error(`${definition.name} is not a stream function`)
  const { topics, group, types, wants, batch } = trigger
  // If `wants` fails, the function gets the event, and its answer says what is wrong.
  const isWanted = async (type: string) => (await wants?.(type).catch(() => true)) ?? true
  return follow({
    topics,
    group,
    types,
    async deliver(event, topic) {
      if (await waitsForResume()) return untilResumed
      if (!(await isWanted(event.type))) return { verdict: 'acknowledge' }
      return deliver(definition, attributesOf(topic, event), event.data, messageOf(topic, event))
    },
    batch: batch && {
      ...batch,
      async deliver(events, topic) {
        if (await waitsForResume()) return untilResumed
        const wanted = await eventsOf(events, wants && isWanted)
        const outgoing = wanted.map((event) => ({
          attributes: attributesOf(topic, event),
          data: event.data,
          ...messageOf(topic, event),
        }))
        const outcomes = outgoing.length > 0 ? await deliverBatch(definition, outgoing) : []
        if ('verdict' in outcomes) return outcomes
        const byEvent = new Map(wanted.map((event, index) => [event, outcomes[index]]))
        return events.map((event) => byEvent.get(event) ?? { verdict: 'acknowledge' })
      },
    },
  })
}

/** The events whose types are wanted now. Asks once for each type. */
async function eventsOf(
  events: readonly LoggedEvent[],
  isWanted: ((type: string) => Promise<boolean>) | undefined,
): Promise<readonly LoggedEvent[]> {
  if (!isWanted) return events
  const wanted = new Set<string>()
  for (const type of new Set(events.map((event) => event.type))) if (await isWanted(type)) wanted.add(type)
  return events.filter(({ type }) => wanted.has(type))
}

function attributesOf(topic: string, { id, type, productId, occurredAt }: LoggedEvent) {
  return {
    id,
    source: `/topics/${topic}`,
    specversion: '1.0' as const,
    type,
    subject: productId,
    time: occurredAt.toISOString(),
  }
}

function messageOf(topic: string, event: LoggedEvent): Message {
  const { id, position: offset, partition } = event
  const at = partition === undefined ? undefined : { partition, offset }
  const system = eventsSettings().adapter === 'kafka' ? 'kafka' : 'postgresql'
  return { system, destination: topic, id, trace: event, at }
}
