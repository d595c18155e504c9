import { ServiceError } from '#errors'

interface TurnsOptions {
  /** Works at a time. */
  atOnceMax: number
  /** Works that may wait, and those of one origin among them. */
  waitingMax: number
  waitingOfOneMax: number
}

/**
 * Bounds how much is done at a time: who comes while all places are taken waits, and the origins take turns, so that one that sends a
 * thousand keeps another's one for no longer than a place takes to come free. Throws `rate_limited` where too many wait.
 */
export function createTurns({ atOnceMax, waitingMax, waitingOfOneMax }: TurnsOptions) {
  /** By their origin, the one whose turn is next in front. */
  const waiting = new Map<string, Array<() => void>>()
  let waitingCount = 0
  let running = 0

  async function takeTurn(origin: string): Promise<void> {
    if (running < atOnceMax) {
      running++
      return
    }
    const own = waiting.get(origin) ?? []
    if (own.length >= waitingOfOneMax || waitingCount >= waitingMax) throw tooMany()
    waiting.set(origin, own)
    waitingCount++
    await new Promise<void>((resolve) => own.push(resolve))
  }

  function passOn(): void {
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
    await takeTurn(origin)
    try {
      return await work()
    } finally {
      passOn()
    }
  }
}

function tooMany(): ServiceError {
  const detail = 'Too many API keys that are not known here are waiting to be looked for. Try again shortly.'
  return new ServiceError('rate_limited', detail, { retryAfterSeconds: 1 })
}
