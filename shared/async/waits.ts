import { setTimeout as sleep } from 'node:timers/promises'

/** Resolves after `ms`, or as soon as `signal` is aborted. `ref: false`: the process may end meanwhile. */
export async function pause(ms: number, signal?: AbortSignal, { ref = true } = {}): Promise<void> {
  // Rejects when it is aborted, which every caller looks at next.
  await sleep(ms, undefined, { ...(signal && { signal }), ref }).catch(() => {})
}

/** `ms`, or half as much more or less, at random: so that processes that began together do not go on in step. */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random())
}

/**
 * How long to wait after so many failures in a row: anything up to `baseMs * 2 ** failures`, `maxMs` at most. "Full jitter" of
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function fullJitter(failures: number, { baseMs, maxMs }: { baseMs: number; maxMs: number }): number {
  return Math.random() * Math.min(maxMs, baseMs * 2 ** failures)
}
