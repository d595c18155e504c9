import { ServiceError } from '#errors'
import { gauge, histogram } from '#telemetry'

const inFlight = gauge('function_in_flight', 'Requests being served.', ['function'])
const duration = histogram('function_duration_seconds', 'Time to answer a request.', ['function', 'status'])

/** Counts a function's requests in flight, and refuses the one past its limit. */
export function createAdmission(name: string, limit: number) {
  const level = inFlight.labels(name)
  const durations = new Map<number, ReturnType<typeof duration.labels>>()
  let current = 0
  return {
    current: () => current,
    /** Throws `overloaded` past the limit: early, while a retry elsewhere still helps. */
    enter() {
      if (current >= limit) {
        throw new ServiceError('overloaded', `${name} already serves ${limit} requests. Try again shortly.`, {
          retryAfterSeconds: 1,
        })
      }
      level.set(++current)
    },
    leave() {
      level.set(--current)
    },
    observe(status: number, startedAt: number) {
      const observer = durations.get(status) ?? duration.labels(name, String(status))
      durations.set(status, observer)
      observer.observe((performance.now() - startedAt) / 1000)
    },
  }
}

/** `work`'s result, or `overloaded` once it has taken longer than `limitMs`. What it does after that is its own affair. */
export async function withDeadline<Result>(limitMs: number, work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new ServiceError(
          'overloaded',
          `The answer took longer than ${limitMs} ms. Repeat the request with its Idempotency-Key.`,
          {
            retryAfterSeconds: 1,
          },
        ),
      )
    }, limitMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
