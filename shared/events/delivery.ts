import type { Outcome } from '#errors'
import { counter, gauge, logger } from '#telemetry'
import type { LoggedEvent } from './postgres/log.ts'
import { ATTEMPTS_MAX } from './waits.ts'

export interface Subscription {
  topics: readonly string[]
  /** The consumer group. Each event goes to one of its followers, and another takes over when that one is gone. */
  group: string
  /** The event types that are delivered. Others are skipped. */
  types?: readonly string[] | undefined
  /** Must not throw. */
  deliver: (event: LoggedEvent, topic: string) => Promise<Outcome>
}

export interface Following {
  /** Takes no more events. Resolves when the deliveries under way have ended. */
  stop: () => Promise<void>
}

const delivered = counter('stream_events_total', 'Events delivered to a consumer group, by verdict.', [
  'group',
  'verdict',
])
const deadLetters = counter('stream_dead_letters_total', 'Events that a consumer group has dead-lettered.', ['group'])
const lag = gauge('stream_lag_seconds', 'Age of the last event of a topic that was delivered to a consumer group.', [
  'group',
  'topic',
])

/** What to do next: pass on to the next event, retry this one (which may not count as an attempt), or dead-letter it. */
export type Next = { step: 'pass' } | { step: 'retry'; isCounted: boolean } | { step: 'dead-letter'; error: string }

export function wants({ types }: Subscription, type: string): boolean {
  return !types || types.includes(type)
}

export function countDeadLetter({ group }: Subscription): void {
  deadLetters.inc({ group })
}

/**
 * Delivers an event of a topic, for the `attempt`th time. An outage does not count as an attempt, however long it lasts: a database that
 * is down for an hour must not turn good events into dead letters.
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
    logger().warn({ group, event: event.id, attempts: attempt, reason }, 'event will be delivered again')
    return { step: 'retry', isCounted: !isOutage }
  }
  logger().error({ group, event: event.id, attempts: attempt, reason }, 'event dead-lettered')
  return { step: 'dead-letter', error: reason }
}

/** The error of an attempt of which only the beginning was recorded. */
export const INTERRUPTED = 'the process crashed during the attempt, or another follower took over'

let lastTurn: Promise<unknown> = Promise.resolve()

/**
 * Does `work` at once; or, where its event may crash the process, after all earlier work of that kind in this process: an event that
 * survives another's crash must not be counted for it.
 */
export function oneAtATime<Result>(mayCrash: boolean, work: () => Promise<Result>): Promise<Result> {
  if (!mayCrash) return work()
  const turn = lastTurn.then(work)
  lastTurn = turn.catch(() => {})
  return turn
}
