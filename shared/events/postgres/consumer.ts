import { jittered, pause } from '#async'
import { newId } from '#ids'
import { logger } from '#telemetry'
import {
  attemptDelivery,
  countDeadLetter,
  type Following,
  INTERRUPTED,
  type Next,
  oneAtATime,
  type Subscription,
  wants,
} from '../delivery.ts'
import { ATTEMPTS_MAX, backoffMs } from '../waits.ts'
import {
  type Cursor,
  CursorLost,
  deadLetterEvent,
  LEASE_MS,
  releaseCursor,
  renewCursor,
  saveCursor,
  takeCursor,
} from './cursor.ts'
import { type LoggedEvent, readLog } from './log.ts'

/** Events read at once. As many may be delivered again after a crash: the cursor is saved after each batch. */
const BATCH_MAX = 100
const IDLE_MS = 100
/** The pause between attempts to take the cursor, and after an error of the database. */
const RETAKE_MS = 1_000

/**
 * Delivers each topic's events in order, one at a time, from the group's last position on, at least once each. A rejected event is
 * dead-lettered. An event to retry stops its topic until it succeeds or has used up its attempts.
 */
export function followLog(subscription: Subscription): Following {
  const stopping = new AbortController()
  const running = Promise.all(subscription.topics.map((topic) => followUntil(stopping.signal, subscription, topic)))
  return {
    async stop() {
      stopping.abort()
      await running
    },
  }
}

async function followUntil(signal: AbortSignal, subscription: Subscription, topic: string): Promise<void> {
  const { group } = subscription
  const holder = newId()
  while (!signal.aborted) {
    try {
      const cursor = await takeCursor(group, topic, holder)
      if (cursor) await consume(signal, subscription, cursor)
    } catch (error) {
      if (error instanceof CursorLost) logger().warn({ group, topic }, 'another follower has taken over the cursor')
      else logger().error({ group, topic, err: error }, 'consumer interrupted; it will try again')
    }
    await pause(jittered(RETAKE_MS), signal)
  }
}

/** Consumes until `signal` is aborted. Throws CursorLost. */
async function consume(signal: AbortSignal, subscription: Subscription, cursor: Cursor): Promise<void> {
  const heartbeats = startHeartbeats(cursor)
  /** Failed deliveries in a row, those that do not count as attempts included. */
  let failures = 0
  try {
    while (!signal.aborted) {
      const events = await readLog(cursor.topic, cursor.position, BATCH_MAX)
      for (const event of events) {
        if (heartbeats.isLost()) throw new CursorLost()
        if (signal.aborted) break
        failures = (await pass(subscription, cursor, event)) ? 0 : failures + 1
        if (failures > 0) break
      }
      // The whole batch that was under way at the crash has been delivered.
      if (events.at(-1)?.position === cursor.position) cursor.afterCrash = false
      if (events.length > 0) await saveCursor(cursor)
      if (events.length === 0) await pause(IDLE_MS, signal)
      else if (failures > 0) await pause(backoffMs(failures), signal)
    }
  } finally {
    heartbeats.stop()
    await releaseCursor(cursor).catch((error) =>
      logger().warn({ err: error, topic: cursor.topic }, 'could not release the cursor; its lease will expire'),
    )
  }
}

/** Delivers one event and moves the cursor past it, in memory. False if it is to be delivered again. */
async function pass(subscription: Subscription, cursor: Cursor, event: LoggedEvent): Promise<boolean> {
  const attempts = cursor.attempts + 1
  const next: Next = wants(subscription, event.type)
    ? await oneAtATime(cursor.afterCrash, () => attempt(subscription, cursor, event, attempts))
    : { step: 'pass' }
  if (next.step === 'retry') {
    if (next.isCounted) cursor.attempts = attempts
    return false
  }
  Object.assign(cursor, { position: event.position, attempts: 0 })
  if (next.step === 'dead-letter') {
    await deadLetterEvent(cursor, event, Math.min(attempts, ATTEMPTS_MAX), next.error)
    countDeadLetter(subscription)
  }
  return true
}

/** After a crash, records the attempt before it makes it: if the event crashes the process again, the attempt still counts. */
async function attempt(
  subscription: Subscription,
  cursor: Cursor,
  event: LoggedEvent,
  attempts: number,
): Promise<Next> {
  if (attempts > ATTEMPTS_MAX) {
    logger().error({ group: cursor.group, event: event.id, attempts, reason: INTERRUPTED }, 'event dead-lettered')
    return { step: 'dead-letter', error: INTERRUPTED }
  }
  if (cursor.afterCrash) await saveCursor({ ...cursor, attempts })
  return attemptDelivery(subscription, cursor.topic, event, attempts)
}

/** Renews the cursor's lease, however long the current delivery takes. */
function startHeartbeats(cursor: Cursor): { isLost: () => boolean; stop: () => void } {
  let lost = false
  const timer = setInterval(() => {
    renewCursor(cursor).catch((error) => {
      lost ||= error instanceof CursorLost
      if (!lost) logger().warn({ err: error, topic: cursor.topic }, 'could not renew the lease of the cursor')
    })
  }, LEASE_MS / 3)
  return { isLost: () => lost, stop: () => clearInterval(timer) }
}
