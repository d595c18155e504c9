import type { Outcome } from '#errors'
import { counter, gauge, logger } from '#telemetry'
import type { LoggedEvent } from './postgres/log.ts'
import { ATTEMPTS_MAX } from './waits.ts'

export interface Subscription {
  topics: readonly string[]
  /** Followers of one group share its place in a topic: each event goes to one of them, and another takes over when it is gone. */
  group: string
  /** The event types that are delivered; the others are passed over. */
  types?: readonly string[] | undefined
  /** Must not throw. */
  deliver: (event: LoggedEvent, topic: string) => Promise<Outcome>
}

export interface Following {
  /** Takes no more events, and resolves when those in hand are dealt with. */
  stop: () => Promise<void>
}

const delivered = counter('stream_events_total', 'Events delivered to a consumer group, by verdict.', [
  'group',
  'verdict',
])
const dead = counter(
  'stream_dead_total',
  'Events that a consumer group could not handle, and put among the dead ones.',
  ['group'],
)
const lag = gauge('stream_lag_seconds', 'Age of the event of a topic that a consumer group has dealt with last.', [
  'group',
  'topic',
])

/** What comes next: the event after this one, this one once more, or its burial. */
export type Next = { step: 'pass' } | { step: 'again'; isCounted: boolean } | { step: 'bury'; error: string }

export function wants({ types }: Subscription, type: string): boolean {
  return !types || types.includes(type)
}

/** To be told of each event that has been put among the dead ones. */
export function countDead({ group }: Subscription): void {
  dead.inc({ group })
}

/**
 * Delivers an event of a topic, for the `attempt`th time. While what it needs is away it is tried for as long as that lasts: a database
 * that is down for an hour must not fill the dead letters with events that nothing is wrong with.
 */
export async function attemptDelivery(
  { group, deliver }: Subscription,
  topic: string,
  event: LoggedEvent,
  attempt: number,
): Promise<Next> {
  const outcome = await deliver(event, topic)
  delivered.inc({ group, verdict: outcome.verdict })
  lag.set({ group, topic }, (Date.now() - event.occurredAt.getTime()) / 1000)
  if (outcome.verdict === 'acknowledge') return { step: 'pass' }
  const { error: reason, isOutage = false } = outcome
  if (outcome.verdict === 'retry' && (isOutage || attempt < ATTEMPTS_MAX)) {
    logger().warn({ group, event: event.id, attempts: attempt, reason }, 'an event will be delivered again')
    return { step: 'again', isCounted: !isOutage }
  }
  logger().error({ group, event: event.id, attempts: attempt, reason }, 'an event is dead')
  return { step: 'bury', error: reason }
}

/** How an attempt ended of which only the beginning was written down. */
export const BROKEN_OFF = 'the process died in the attempt, or lost its place to another'

let lastTurn: Promise<unknown> = Promise.resolve()

/**
 * Does `work` at once, or, where one of the events in hand may kill the process, when it is its turn among all that are delivered
 * one at a time: what lives through another's kill must not be counted for it.
 */
export function inTurn<Result>(mayKill: boolean, work: () => Promise<Result>): Promise<Result> {
  if (!mayKill) return work()
  const turn = lastTurn.then(work)
  lastTurn = turn.catch(() => {})
  return turn
}
