import type { Outcome } from '#errors'
import type { LoggedEvent } from '../postgres/log.ts'

export interface Subscription {
  topics: readonly string[]
  /** The consumer group. Each event goes to one of its followers; if that follower is gone, another takes over. */
  group: string
  /** The event types that are delivered. Others are skipped. */
  types?: readonly string[] | undefined
  /** Must not throw. */
  deliver: (event: LoggedEvent, topic: string) => Promise<Outcome>
  /** Delivers several events at once, if there are several. */
  batch?: BatchSubscription | undefined
}

export interface BatchSubscription {
  /** The most events in a batch; at most 1,000. */
  max: number
  /** The pause after a batch that was not full, so that the next batch has more events. */
  waitMs: number
  /** Returns an outcome for each event, or one for the batch as a whole. Must not throw. */
  deliver: (events: readonly LoggedEvent[], topic: string) => Promise<readonly Outcome[] | Failure>
}

export type Failure = Exclude<Outcome, { verdict: 'acknowledge' }>

export interface Following {
  /** Takes no more events. Resolves when the deliveries under way have ended. */
  stop: () => Promise<void>
}

export function wants({ types }: Subscription, type: string): boolean {
  return !types || types.includes(type)
}
