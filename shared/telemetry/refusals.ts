import { logger } from './log.ts'

/** Under overload, thousands of requests a second fail for one reason. A line for each would add to the load. */
const INTERVAL_MS = 10_000
/** The most different failures that are kept apart in an interval; further ones are distinguished only by their function and code. */
const KINDS_MAX = 1_000

interface About {
  function: string
  code: string
}

const repeated = new Map<string, number>()

/**
 * Logs that a request was refused by design, because of a bound or an outage. Logs the first refusal of a kind at once, without a stack, and the
 * number of further ones every 10 s. `about` must come from a bounded set.
 */
export function logRefusal(about: About, detail: string, reason?: string): void {
  logFirst('warn', '', about, reason === undefined ? {} : { reason }, detail)
}

/**
 * Logs that a request, an event or a job failed because of a defect here. Logs the first failure with this error at once, with its stack, and the
 * number of further ones every 10 s. `ids` identify the failed work; `about` must come from a bounded set.
 */
export function logFault(about: About, detail: string, thrown: unknown, ids: Record<string, string>): void {
  logFirst('error', ` ${String(thrown).slice(0, 200)}`, about, { ...ids, err: thrown }, detail)
}

function logFirst(level: 'warn' | 'error', error: string, about: About, more: object, detail: string): void {
  const kind = `${about.function} ${about.code}`
  const name = repeated.size < KINDS_MAX || repeated.has(kind + error) ? kind + error : kind
  const count = repeated.get(name)
  if (count !== undefined) {
    repeated.set(name, count + 1)
    return
  }
  repeated.set(name, 0)
  logger()[level]({ ...about, ...more }, detail)
  setTimeout(() => {
    const times = repeated.get(name) ?? 0
    repeated.delete(name)
    if (times > 0) logger()[level]({ ...about, repeated: times }, `again for the same reason: ${detail}`)
  }, INTERVAL_MS).unref()
}
