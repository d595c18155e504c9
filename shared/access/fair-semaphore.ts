import { ServiceError } from '#errors'

interface FairSemaphoreOptions {
  concurrencyMax: number
  /** Calls that may wait, in total and from one origin. */
  waitingMax: number
  waitingPerOriginMax: number
}

/**
 * Bounds how many calls run at a time. Further calls wait, and the origins take turns: a single call waits for one slot to become free, however
 * many calls another origin has waiting. Throws `rate_limited` if too many wait.
 */
export function createFairSemaphore({ concurrencyMax, waitingMax, waitingPerOriginMax }: FairSemaphoreOptions) {
  /** Waiting calls by origin; the origin whose turn is next comes first. */
  const waiting = new Map<string, Array<() => void>>()
  let waitingCount = 0
  let running = 0

  async function acquire(origin: string): Promise<void> {
    if (running < concurrencyMax) {
      running++
      return
    }
    const own = waiting.get(origin) ?? []
    if (own.length >= waitingPerOriginMax || waitingCount >= waitingMax) throw tooMany()
    waiting.set(origin, own)
    waitingCount++
    await new Promise<void>((resolve) => own.push(resolve))
  }

  function release(): void {
    for (const [origin, own] of waiting) {
      waiting.delete(origin)
      const next = own.shift()
      if (own.length > 0) waiting.set(origin, own)
      if (!next) continue
      waitingCount--
      next()
      return
    }
    running--
  }

  return async <Result>(origin: string, work: () => Promise<Result>): Promise<Result> => {
    await acquire(origin)
    try {
      return await work()
    } finally {
      release()
    }
  }
}

function tooMany(): ServiceError {
  const detail = 'Too many API keys that are not known here are waiting to be looked for. Try again shortly.'
  return new ServiceError('rate_limited', detail, { retryAfterSeconds: 1 })
}
