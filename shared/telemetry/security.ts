import { logger } from './log.ts'
import { counter } from './metrics.ts'

/** What whoever watches over the service wants to hear of, and the words for it. */
const messages = {
  api_key_made: 'an API key was made',
  api_key_revoked: 'an API key was revoked',
  api_key_used_after_revocation: 'an API key was used after it had been revoked',
  unauthenticated: 'a request came without an API key that is valid',
  forbidden: 'a request wanted what its API key may not do',
  webhook_made: 'a webhook was made',
  webhook_changed: 'a webhook was changed',
  webhook_deleted: 'a webhook was deleted',
} as const
type SecurityEvent = keyof typeof messages

/** Who has done it, and to what: identifiers alone, never a secret. */
type About = Record<string, string | undefined>

const events = counter('security_events_total', 'Security events, by their kind.', ['event'])

/** Tells the log at once. */
export function securityEvent(event: SecurityEvent, about: About): void {
  events.inc({ event })
  write(event, about)
}

function write(event: SecurityEvent, about: About, repeated?: number): void {
  logger().info({ security: event, ...about, ...(repeated !== undefined && { repeated }) }, messages[event])
}

/** The same again, by the same, is counted for this long, and then told in one line: a client that does not stop fills no disk. */
const INTERVAL_MS = 60_000
/** Different ones in an interval; what comes on top is counted by its kind alone. */
const KEPT_MAX = 1_000

const seen = new Map<string, { event: SecurityEvent; about: About; repeated: number }>()
let timer: NodeJS.Timeout | undefined

/** Tells the log the first time, and how often it came again once an interval is over. */
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
  timer ??= setTimeout(tellRepeated, INTERVAL_MS).unref()
}

function countOther(event: SecurityEvent): void {
  const entry = seen.get(event) ?? { event, about: { by: 'others' }, repeated: 0 }
  entry.repeated++
  seen.set(event, entry)
}

/** Tells what was only counted until now. At the end of an interval, and of the process. */
export function tellRepeated(): void {
  clearTimeout(timer)
  timer = undefined
  for (const [name, entry] of seen) {
    if (entry.repeated > 0) write(entry.event, entry.about, entry.repeated)
    // Whoever has stopped is told of at once when it begins again.
    if (entry.repeated === 0 || name === entry.event) seen.delete(name)
    entry.repeated = 0
  }
  if (seen.size > 0) timer = setTimeout(tellRepeated, INTERVAL_MS).unref()
}
