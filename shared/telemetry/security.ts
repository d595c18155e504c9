import { logger } from './log.ts'
import { counter } from './metrics.ts'

/** The security events and their log messages. */
const messages = {
  api_key_made: 'an API key was made',
  api_key_revoked: 'an API key was revoked',
  api_key_used_after_revocation: 'an API key was used after it had been revoked',
  unauthenticated: 'a request had no valid API key',
  forbidden: 'a request needed a scope that its API key lacks',
  webhook_made: 'a webhook was made',
  webhook_changed: 'a webhook was changed',
  webhook_deleted: 'a webhook was deleted',
  webhook_secret_rotated: 'a webhook was given another secret',
} as const
type SecurityEvent = keyof typeof messages

/** The actor and the object: identifiers only, never a secret. */
type About = Record<string, string | undefined>

const events = counter('security_events_total', 'Security events, by their kind.', ['event'])

/** Counts and logs the event. */
export function securityEvent(event: SecurityEvent, about: About): void {
  events.inc({ event })
  write(event, about)
}

function write(event: SecurityEvent, about: About, repeated?: number): void {
  logger().info({ security: event, ...about, ...(repeated !== undefined && { repeated }) }, messages[event])
}

/** Repetitions by the same actor are logged as one line per interval, so that a client that does not stop fills no disk. */
const INTERVAL_MS = 60_000
/** The most different events that are kept in an interval. Further ones are counted only by their kind. */
const KEPT_MAX = 1_000

const seen = new Map<string, { event: SecurityEvent; about: About; repeated: number }>()
let timer: NodeJS.Timeout | undefined

/** Counts the event. Logs the first of its kind and actor at once, and the number of repetitions once a minute. */
export function countSecurityEvent(event: SecurityEvent, about: About): void {
  events.inc({ event })
  const name = JSON.stringify([event, about])
  const isNew = !seen.has(name)
  if (isNew && seen.size >= KEPT_MAX) {
    countOther(event)
    return
  }
  const entry = seen.get(name) ?? { event, about, repeated: 0 }
  if (isNew) write(event, about)
  else entry.repeated++
  seen.set(name, entry)
  timer ??= setTimeout(logRepeated, INTERVAL_MS).unref()
}

function countOther(event: SecurityEvent): void {
  const entry = seen.get(event) ?? { event, about: { by: 'others' }, repeated: 0 }
  entry.repeated++
  seen.set(event, entry)
}

/** Logs the repetitions that are only counted so far. Runs at the end of each interval, and at the end of the process. */
export function logRepeated(): void {
  clearTimeout(timer)
  timer = undefined
  for (const [name, entry] of seen) {
    if (entry.repeated > 0) write(entry.event, entry.about, entry.repeated)
    // An actor that has stopped for an interval is logged at once when it starts again.
    if (entry.repeated === 0 || name === entry.event) seen.delete(name)
    entry.repeated = 0
  }
  if (seen.size > 0) timer = setTimeout(logRepeated, INTERVAL_MS).unref()
}
