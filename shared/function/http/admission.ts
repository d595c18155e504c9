import { createShares } from '#async'
import { overloaded, type ServiceError } from '#errors'
import { gauge, histogram, logger } from '#telemetry'

const admissions = new Map<string, () => number>()
const inFlight = gauge('function_in_flight', 'Requests being worked on, past their time as well.', ['function'], () => {
  for (const [name, current] of admissions) inFlight.set({ function: name }, current())
})
const duration = histogram('function_duration_seconds', 'Time to answer a request.', ['function', 'status'])

export interface Admission {
  current: () => number
  /**
   * Does `work` in one of the function's places, in `timeoutMs` at most. A request has a place while it is worked on, past its time as
   * well, and none while its client is waited for; with the place goes what else it holds, by `onEnd`, which is called once in any case.
   * Throws `overloaded` past the time, and where there is no place: early, while a retry elsewhere still helps.
   */
  within: <Result>(
    apiKeyId: string | undefined,
    timeoutMs: number,
    work: () => Promise<Result> | Result,
    onEnd: () => void,
  ) => Promise<Result> | Result
  observe: (status: number, startedAt: number) => void
}

/**
 * Work that goes on past its request's time has somebody's place. Whatever it waits for ends sooner than this by a bound of its own, but
 * for a defect, which must not cost a place for ever.
 */
const OVERTIME_MAX_MS = 60_000

/** Counts a function's requests in flight, and refuses the one past its limit, or past the share of its API key. */
export function createAdmission(name: string, limit: number): Admission {
  const durations = new Map<number, ReturnType<typeof duration.labels>>()
  const places = createShares(limit)
  admissions.set(name, places.taken)
  return {
    current: places.taken,
    within(apiKeyId, timeoutMs, work, onEnd) {
      if (!places.take(apiKeyId, 1)) {
        onEnd()
        throw full(name, limit)
      }
      const leave = () => {
        places.giveBack(apiKeyId, 1)
        onEnd()
      }
      let result: ReturnType<typeof work>
      try {
        result = work()
      } catch (error) {
        leave()
        throw error
      }
      if (result instanceof Promise) return withDeadline(name, timeoutMs, result, leave)
      leave()
      return result
    },
    observe(status: number, startedAt: number) {
      const observer = durations.get(status) ?? duration.labels(name, String(status))
      durations.set(status, observer)
      observer.observe((performance.now() - startedAt) / 1000)
    },
  }
}

/** `work`'s result, or `overloaded` once it has taken longer than `limitMs`. `leave` is called when it has ended. */
function withDeadline<Result>(
  name: string,
  limitMs: number,
  work: Promise<Result>,
  leave: () => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    let isOver = false
    const end = () => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      leave()
    }
    let timer = setTimeout(() => {
      reject(late(limitMs))
      timer = setTimeout(() => {
        logger().error({ function: name }, `work goes on ${OVERTIME_MAX_MS} ms past its time, and is counted no longer`)
        end()
      }, OVERTIME_MAX_MS).unref()
    }, limitMs)
    work.then(
      (result) => {
        end()
        resolve(result)
      },
      (error) => {
        end()
        reject(error)
      },
    )
  })
}

function full(name: string, limit: number): ServiceError {
  const detail = `${name} already serves ${limit} requests, or this API key’s share of them. Try again shortly.`
  return overloaded(detail)
}

export function late(limitMs: number): ServiceError {
  const detail = `The answer took longer than ${limitMs} ms. Repeat the request with its Idempotency-Key.`
  return overloaded(detail)
}
