import { logger } from './log.ts'

/** Under overload thousands of requests a second are refused for one reason. A line each would add to the load. */
const INTERVAL_MS = 10_000

const repeated = new Map<string, number>()

/**
 * Logs that a request was refused by design, because of a bound or an outage: the first of a kind at once, without a stack, and the number
 * of further ones every 10 s. `about` must come from a bounded set.
 */
export function logRefusal(about: { function: string; code: string }, detail: string, reason?: string): void {
  const kind = `${about.function} ${about.code}`
  const count = repeated.get(kind)
  if (count !== undefined) {
    repeated.set(kind, count + 1)
    return
  }
  repeated.set(kind, 0)
  logger().warn({ ...about, ...(reason !== undefined && { reason }) }, detail)
  setTimeout(() => {
    const more = repeated.get(kind) ?? 0
    repeated.delete(kind)
    if (more > 0) logger().warn({ ...about, repeated: more }, 'refused again for the same reason')
  }, INTERVAL_MS).unref()
}
