import type { Outcome } from '#errors'
import type { LoggedEvent } from '../postgres/log.ts'

export interface Subscription {
  topics: readonly string[]
  /** The consumer group. Each event goes to one of its followers, and another takes over when that one is gone. */
  group: string
  /** The event types that are delivered. Others are skipped. */
  types?: readonly string[] | undefined
  /** Must not throw. */
  deliver: (event: LoggedEvent, topic: string) => Promise<Outcome>
  /** Delivers several events at once, where there are several. */
  batch?: BatchSubscription | undefined
}

export interface BatchSubscription {
  /** Events a batch, 1,000 at most. */
  max: number
  /** The pause after a batch that was not full, so that the next one has more. */
  waitMs: number
  /** Gives an outcome for each event, or the one of the batch as a whole. Must not throw. */
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
