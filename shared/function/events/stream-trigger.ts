import { follow, type LoggedEvent } from '#events'
import type { FunctionDefinition } from '../definition.ts'
import { deliver, type RunningTrigger } from './trigger.ts'

/** Follows a stream function's topics. Throws a ConfigError. */
export function startStream(definition: FunctionDefinition): RunningTrigger {
  const { trigger } = definition
  if (trigger.kind !== 'stream') throw new Error(`${definition.name} is not a stream function`)
  const { topics, group, types, wants } = trigger
  return follow({
    topics,
    group,
    types,
    async deliver(event, topic) {
      // If that fails, the function gets the event, and its answer says what is wrong.
      const isWanted = await wants?.(event.type).catch(() => true)
      if (isWanted === false) return { verdict: 'acknowledge' }
      return deliver(definition, attributesOf(topic, event), event.data, event)
    },
  })
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
