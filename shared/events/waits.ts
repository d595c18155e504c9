import { setTimeout as sleep } from 'node:timers/promises'

/** With the back-off below, ten attempts take 50 s on average. What is away for longer says so, by 503, and is waited for. */
export const ATTEMPTS_MAX = 10
const BACKOFF_BASE_MS = 100
export const BACKOFF_MAX_MS = 60_000

/** "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ */
export function backoffMs(attempts: number): number {
  return Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** attempts)
}

/** Resolves early when `signal` is aborted. */
export async function pause(signal: AbortSignal, ms: number): Promise<void> {
  // Rejects when it is aborted, which every caller looks at next.
  await sleep(ms, undefined, { signal }).catch(() => {})
}

/** What `work` gives. Throws once it has taken longer than `limitMs`; what it still does then is nobody's concern. */
export async function settledWithin<Result>(limitMs: number, work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`there was no answer within ${limitMs} ms`)), limitMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
