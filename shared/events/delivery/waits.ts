import { fullJitter } from '#async'

/** With the backoff below, ten attempts take 50 s on average. A longer outage answers 503, which does not count as an attempt. */
export const ATTEMPTS_MAX = 10
export const BACKOFF_MAX_MS = 60_000

/** How long a stop waits for deliveries and joins under way. Events that take longer are delivered again, to another follower. */
export const STOP_MAX_MS = 10_000

export function backoffMs(attempts: number): number {
  return fullJitter(attempts, { baseMs: 100, maxMs: BACKOFF_MAX_MS })
}
