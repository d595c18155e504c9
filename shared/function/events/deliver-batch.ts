import { cutText, type Outcome } from '#errors'
import { logger, type Message } from '#telemetry'
import type { FunctionDefinition } from '../definition.ts'
import { BATCH_TYPE, isOutage, outcomesOf } from './batch-answer.ts'
import { type CloudEventAttributes, structuredEvent } from './cloud-event.ts'
import { inBatchSpans } from './process-span.ts'
import { REASON_MAX, reasonOf } from './trigger.ts'

export interface OutgoingEvent extends Message {
  attributes: CloudEventAttributes
  data: unknown
}

type Failure = Exclude<Outcome, { verdict: 'acknowledge' }>

/**
 * Sends events to a function, in process, in as few requests as its limit of bytes allows. Derives each event's outcome from the answers, or
 * returns one outcome for all events if a request failed as a whole. Never throws.
 */
export function deliverBatch(
  definition: FunctionDefinition,
  events: readonly OutgoingEvent[],
): Promise<Outcome[] | Failure> {
  return inBatchSpans(definition, events, (traced) => deliverParts(definition, traced))
}

async function deliverParts(
  definition: FunctionDefinition,
  events: readonly OutgoingEvent[],
): Promise<Outcome[] | Failure> {
  const bodies = events.map(({ attributes, data, trace }) => structuredEvent(attributes, data, trace))
  const outcomes: Outcome[] = events.map(() => BEHIND)
  const waiting = new Set<string | undefined>()
  for (const part of partsOf(bodies, definition.limits.maxBodyBytes)) {
    const sent = part.filter((index) => !waiting.has(events[index]?.attributes.subject))
    if (sent.length === 0) continue
    const ids = sent.map((index) => events[index]?.attributes.id ?? '')
    const answer = await send(definition, `[${sent.map((index) => bodies[index]).join()}]`, ids)
    if ('verdict' in answer) return answer
    for (const [at, index] of sent.entries()) {
      const outcome = answer[at] ?? BEHIND
      outcomes[index] = outcome
      if (outcome.verdict === 'retry') waiting.add(events[index]?.attributes.subject)
    }
  }
  return outcomes
}

const BEHIND: Outcome = { verdict: 'retry', error: 'an earlier event of its subject is to be retried', isOutage: true }

/** The indexes of the bodies that go into each request: as few requests as a limit of bytes allows, each with at least one body. */
function partsOf(bodies: readonly string[], bytesMax: number): number[][] {
  const parts: number[][] = []
  let rest = 0
  for (const [index, body] of bodies.entries()) {
    const bytes = Buffer.byteLength(body) + 1
    if (bytes >= rest) {
      parts.push([])
      rest = bytesMax - 1
    }
    parts.at(-1)?.push(index)
    rest -= bytes
  }
  return parts
}

async function send(definition: FunctionDefinition, body: string, ids: string[]): Promise<Outcome[] | Failure> {
  try {
    const headers = { 'content-type': BATCH_TYPE }
    const response = await definition.app.fetch(new Request('http://function/', { method: 'POST', headers, body }))
    if (response.status === 204) return ids.map(() => ({ verdict: 'acknowledge' }))
    // A batch is never rejected as a whole: its events are then delivered one by one, and each gets its own answer.
    if (!response.ok) return { verdict: 'retry', error: await reasonOf(response), isOutage: isOutage(response.status) }
    const outcomes = outcomesOf(await response.json(), ids)
    return outcomes ?? { verdict: 'retry', error: 'the answer does not say what became of each event' }
  } catch (error) {
    logger().error({ function: definition.name, err: error }, 'the function threw, or its answer is not JSON')
    return { verdict: 'retry', error: cutText(String(error), REASON_MAX) }
  }
}
