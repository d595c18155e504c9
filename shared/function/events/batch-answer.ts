import * as z from 'zod'
import type { Outcome } from '#errors'

/** The media type of several events in one request: a JSON array of structured CloudEvents. */
export const BATCH_TYPE = 'application/cloudevents-batch+json'

const FailedEvent = z.strictObject({
  index: z.number().int().nonnegative().describe('Of the event in the request, from 0.'),
  id: z.string().describe('The event’s.'),
  status: z.number().int().min(400).max(599).describe('What the event would have been answered alone.'),
  code: z.string(),
  detail: z.string(),
})

/**
 * The answer to a batch. Events that it does not name are done. An event to retry is delivered again, and so are all later events of its subject.
 * An event to reject is dead-lettered.
 */
export const BatchAnswer = z
  .strictObject({ retry: z.array(FailedEvent), reject: z.array(FailedEvent) })
  .meta({ id: 'BatchAnswer' })
export type BatchAnswer = z.infer<typeof BatchAnswer>

/** Temporary failures among the 4xx: request time-out, too early, too many requests. */
const TEMPORARY = new Set([408, 425, 429])

/** Whether an event that is answered with this status is never delivered again. */
export function isFinal(status: number): boolean {
  return status >= 400 && status < 500 && !TEMPORARY.has(status)
}

/** Whether this status says that something the function needs is away or busy. */
export function isOutage(status: number): boolean {
  return status === 503 || status === 429
}

/**
 * The outcome of each event. Undefined if the answer can't be read, or names an event that was not in the batch: then no part of the answer counts.
 */
export function outcomesOf(answer: unknown, ids: readonly string[]): Outcome[] | undefined {
  const parsed = BatchAnswer.safeParse(answer)
  if (!parsed.success) return undefined
  const outcomes = new Map<number, Outcome>()
  const { retry, reject } = parsed.data
  for (const [verdict, events] of [['retry', retry] as const, ['reject', reject] as const]) {
    for (const { index, id, status, code, detail } of events) {
      if (ids[index] !== id || outcomes.has(index)) return undefined
      outcomes.set(index, { verdict, error: `${code}: ${detail}`, isOutage: isOutage(status) })
    }
  }
  return ids.map((_, index) => outcomes.get(index) ?? { verdict: 'acknowledge' })
}
