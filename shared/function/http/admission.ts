import { createDeadlines, createShares } from '#async'
import { overloaded, type ServiceError } from '#errors'
import { gauge, logger, type TraceContext, tracedHistogram } from '#telemetry'
import type { Limits } from '../definition.ts'
import { createTraffic, type RecentTraffic } from '../status/recent-traffic.ts'

const admissions = new Map<string, { current: () => number; limit: number }>()
const inFlight = gauge(
  'function_in_flight',
  'Requests being worked on, also past their time-out.',
  ['function'],
  () => {
    for (const [name, { current }] of admissions) inFlight.set({ function: name }, current())
  },
)
const inFlightLimit = gauge(
  'function_in_flight_limit',
  'Requests that a function works on at once; it refuses the next one.',
  ['function'],
  () => {
    for (const [name, { limit }] of admissions) inFlightLimit.set({ function: name }, limit)
  },
)
const duration = tracedHistogram('function_duration_seconds', 'Time to answer a request, or to work on an event.', [
  'function',
  'status',
])

export interface Admission {
  current: () => number
  /**
   * Runs `work` in one of the function's slots, for the function's `timeoutMs` at most. A request has a slot while it is worked on, even past its
   * time-out, but no slot while the function waits for the client. `onEnd` is called once in any case, when the slot is free again. Throws
   * `overloaded` past the time-out, and at once if no slot is free, so that a retry elsewhere still helps.
   */
  run: <Result>(
    apiKeyId: string | undefined,
    work: () => Promise<Result> | Result,
    onEnd: () => void,
  ) => Promise<Result> | Result
  observe: (status: number, startedAt: number, trace: TraceContext) => void
  /** What was observed in the last five minutes. */
  recent: () => RecentTraffic
}

/**
 * Work past its time-out still takes up a slot. Everything that it can wait for has a shorter bound of its own. Work that runs longer than this is
 * a defect, which must not cost a slot for ever.
 */
const OVERTIME_MAX_MS = 60_000

/** Counts a function's requests in flight. Refuses a request beyond the function's limit, or beyond its API key's share of that limit. */
export function createAdmission(name: string, { inFlight: limit, timeoutMs }: Limits): Admission {
  const durations = new Map<number, ReturnType<typeof duration>>()
  const slots = createShares(limit)
  const deadlines = createDeadlines(timeoutMs)
  const traffic = createTraffic()
  admissions.set(name, { current: slots.taken, limit })

  /** The result of `work`, or `overloaded` past the time-out. `leave` is called when the work has ended. */
  function within<Result>(work: Promise<Result>, leave: () => void): Promise<Result> {
    return new Promise((resolve, reject) => {
      let overtime: NodeJS.Timeout | undefined
      const pass = () => {
        reject(late(timeoutMs))
        overtime = setTimeout(giveUp, OVERTIME_MAX_MS).unref()
      }
      const cancel = deadlines.set(pass)
      let isOver = false
      const end = () => {
        if (isOver) return
        isOver = true
        cancel()
        clearTimeout(overtime)
        leave()
      }
      const giveUp = () => {
        const message = `the work still runs ${OVERTIME_MAX_MS} ms past its time-out; its slot is freed`
        logger().error({ function: name }, message)
        end()
      }
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

  return {
    current: slots.taken,
    run(apiKeyId, work, onEnd) {
      if (!slots.take(apiKeyId, 1)) {
        onEnd()
        throw full(name, limit)
      }
      const leave = () => {
        slots.giveBack(apiKeyId, 1)
        onEnd()
      }
      let result: ReturnType<typeof work>
      try {
        result = work()
      } catch (error) {
        leave()
        throw error
      }
      if (result instanceof Promise) return within(result, leave)
      leave()
      return result
    },
    observe(status: number, startedAt: number, { traceparent }: TraceContext) {
      const observe = durations.get(status) ?? duration({ function: name, status: String(status) })
      durations.set(status, observe)
      const now = performance.now()
      observe((now - startedAt) / 1000, traceparent)
      traffic.add(status, now - startedAt, now)
    },
    recent: () => traffic.recent(performance.now()),
  }
}

function full(name: string, limit: number): ServiceError {
  const detail = `${name} already serves ${limit} requests, or this API key’s share of them. Try again shortly.`
  return overloaded(detail)
}

export function late(limitMs: number): ServiceError {
  const detail = `The answer took longer than ${limitMs} ms. Repeat the request with its Idempotency-Key.`
  return overloaded(detail)
}
