import { fullJitter } from '#async'

/** With the back-off below, ten attempts take 50 s on average. What is away for longer says so, by 503, and is waited for. */
export const ATTEMPTS_MAX = 10
export const BACKOFF_MAX_MS = 60_000

export function backoffMs(attempts: number): number {
  return fullJitter(attempts, { baseMs: 100, maxMs: BACKOFF_MAX_MS })
}
