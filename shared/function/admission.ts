import { ServiceError } from '#errors'
import { gauge, histogram } from '#telemetry'

const admissions = new Map<string, () => number>()
const inFlight = gauge('function_in_flight', 'Requests being served.', ['function'], () => {
  for (const [name, current] of admissions) inFlight.set({ function: name }, current())
})
const duration = histogram('function_duration_seconds', 'Time to answer a request.', ['function', 'status'])

/** Counts a function's requests in flight, and refuses the one past its limit. */
export function createAdmission(name: string, limit: number) {
  const durations = new Map<number, ReturnType<typeof duration.labels>>()
  let current = 0
  admissions.set(name, () => current)
  return {
    current: () => current,
    /** Throws `overloaded` past the limit: early, while a retry elsewhere still helps. */
    enter() {
      if (current >= limit) {
        throw new ServiceError('overloaded', `${name} already serves ${limit} requests. Try again shortly.`, {
          retryAfterSeconds: 1,
        })
      }
      current++
    },
    leave() {
      current--
    },
    observe(status: number, startedAt: number) {
      const observer = durations.get(status) ?? duration.labels(name, String(status))
      durations.set(status, observer)
      observer.observe((performance.now() - startedAt) / 1000)
    },
  }
}

/** `work`'s result, or `overloaded` once it has taken longer than `limitMs`. What it does after that is its own affair. */
export function withDeadline<Result>(limitMs: number, work: Promise<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late(limitMs)), limitMs)
    work.then(
      (result) => {
        clearTimeout(timer)
        resolve(result)
      },
      (error) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}

function late(limitMs: number): ServiceError {
  const detail = `The answer took longer than ${limitMs} ms. Repeat the request with its Idempotency-Key.`
  return new ServiceError('overloaded', detail, { retryAfterSeconds: 1 })
}
