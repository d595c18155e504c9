import { jittered, pause } from '#async'
import { newId } from '#ids'
import { logger } from '#telemetry'
import {
  attemptDelivery,
  BROKEN_OFF,
  countDead,
  type Following,
  inTurn,
  type Next,
  type Subscription,
  wants,
} from '../delivery.ts'
import { ATTEMPTS_MAX, backoffMs } from '../waits.ts'
import {
  buryEvent,
  type Cursor,
  CursorLost,
  HELD_MS,
  keepCursor,
  releaseCursor,
  saveCursor,
  takeCursor,
} from './cursor.ts'
import { type LoggedEvent, readLog } from './log.ts'

/** Events read at once, and delivered again at most if the process is killed: the cursor is saved after each batch. */
const BATCH_MAX = 100
const IDLE_MS = 100
/** How often a follower that has to wait for the cursor asks for it, and how long it rests after an error of the database. */
const RETAKE_MS = 1_000

/**
 * Delivers each topic's events in order, one at a time, from where the group has come to: at least once each. One that is
 * rejected is put among the dead events, one to be retried stops its topic until it succeeds or has used up its attempts.
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
      if (error instanceof CursorLost) logger().warn({ group, topic }, 'another follower has taken over')
      else logger().error({ group, topic, err: error }, 'following is interrupted')
    }
    await pause(jittered(RETAKE_MS), signal)
  }
}

/** Until it is to stop, or the cursor is lost, which throws. */
async function consume(signal: AbortSignal, subscription: Subscription, cursor: Cursor): Promise<void> {
  const life = startHeartbeat(cursor)
  /** Deliveries in vain since an event was passed, those that are not held against it included. */
  let failures = 0
  try {
    while (!signal.aborted) {
      const events = await readLog(cursor.topic, cursor.position, BATCH_MAX)
      for (const event of events) {
        if (life.isLost()) throw new CursorLost()
        if (signal.aborted) break
        failures = (await pass(subscription, cursor, event)) ? 0 : failures + 1
        if (failures > 0) break
      }
      // All that may have been in hand when whoever was here before died.
      if (events.at(-1)?.position === cursor.position) cursor.isLeftBehind = false
      if (events.length > 0) await saveCursor(cursor)
      if (events.length === 0) await pause(IDLE_MS, signal)
      else if (failures > 0) await pause(backoffMs(failures), signal)
    }
  } finally {
    life.stop()
    // Where even this fails, the cursor is free again when its time is up.
    await releaseCursor(cursor).catch((error) => logger().warn({ err: error, topic: cursor.topic }, 'cursor kept'))
  }
}

/** Delivers one event and moves the cursor past it, in memory. False if it is to be delivered again. */
async function pass(subscription: Subscription, cursor: Cursor, event: LoggedEvent): Promise<boolean> {
  const attempts = cursor.attempts + 1
  const next: Next = wants(subscription, event.type)
    ? await inTurn(cursor.isLeftBehind, () => attempt(subscription, cursor, event, attempts))
    : { step: 'pass' }
  if (next.step === 'again') {
    if (next.isCounted) cursor.attempts = attempts
    return false
  }
  Object.assign(cursor, { position: event.position, attempts: 0 })
  if (next.step === 'bury') {
    await buryEvent(cursor, event, Math.min(attempts, ATTEMPTS_MAX), next.error)
    countDead(subscription)
  }
  return true
}

/** Where one of the events may kill the process, an attempt is written down before it is made, or it would never be counted. */
async function attempt(
  subscription: Subscription,
  cursor: Cursor,
  event: LoggedEvent,
  attempts: number,
): Promise<Next> {
  if (attempts > ATTEMPTS_MAX) {
    logger().error({ group: cursor.group, event: event.id, attempts, reason: BROKEN_OFF }, 'an event is dead')
    return { step: 'bury', error: BROKEN_OFF }
  }
  if (cursor.isLeftBehind) await saveCursor({ ...cursor, attempts })
  return attemptDelivery(subscription, cursor.topic, event, attempts)
}

/** Says that the follower is alive, whatever the delivery in hand takes. */
function startHeartbeat(cursor: Cursor): { isLost: () => boolean; stop: () => void } {
  let lost = false
  const timer = setInterval(() => {
    keepCursor(cursor).catch((error) => {
      lost ||= error instanceof CursorLost
      if (!lost) logger().warn({ err: error, topic: cursor.topic }, 'a sign of life was lost')
    })
  }, HELD_MS / 3)
  return { isLost: () => lost, stop: () => clearInterval(timer) }
}
