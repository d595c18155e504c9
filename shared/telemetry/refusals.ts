import { logger } from './log.ts'

/** Under overload, thousands a second are refused for one reason; a line each would be a load of its own. */
const INTERVAL_MS = 10_000

const repeated = new Map<string, number>()

/**
 * Tells the log that a request was refused as it was meant to be, for want of a place or of something that is away: the first of a
 * kind at once, without a stack, and how often it came again once the interval is over. `about`: of a bounded set, since it is kept.
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
    if (more > 0) logger().warn({ ...about, repeated: more }, 'refused for the same reason meanwhile')
  }, INTERVAL_MS).unref()
}
