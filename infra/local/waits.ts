import { setTimeout as delay } from 'node:timers/promises'

/** Polls until `done` returns true. Returns false if `timeoutMs` pass first. */
export async function waitUntil(
  done: () => boolean | Promise<boolean>,
  timeoutMs: number,
  everyMs = 50,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  while (!(await done())) {
    if (performance.now() >= deadline) return false
    await delay(everyMs)
  }
  return true
}

/** Whether a promise settles in time. */
export async function settlesWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const timer = new AbortController()
  const late = delay(timeoutMs, false, { signal: timer.signal }).catch(() => false)
  const settled = await Promise.race([promise.then(() => true), late])
  timer.abort()
  return settled
}
