import { setTimeout as sleep } from 'node:timers/promises'

/** Resolves after `ms`, or as soon as `signal` is aborted. With `ref: false`, it does not keep the process alive. */
export async function pause(ms: number, signal?: AbortSignal, { ref = true } = {}): Promise<void> {
  // An abort rejects the sleep. Callers check the signal next.
  await sleep(ms, undefined, { ...(signal && { signal }), ref }).catch(() => {})
}

/** `ms` plus or minus up to half, at random, so that processes that started together do not stay in step. */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random())
}

/**
 * The wait after a number of failures in a row: random, up to `baseMs * 2 ** failures` and at most `maxMs`. "Full jitter" of
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function fullJitter(failures: number, { baseMs, maxMs }: { baseMs: number; maxMs: number }): number {
  return Math.random() * Math.min(maxMs, baseMs * 2 ** failures)
}
