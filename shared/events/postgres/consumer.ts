import { jittered, pause } from '#async'
import { levelOf } from '#database'
import { newId } from '#ids'
import { logger } from '#telemetry'
import { createBacklog, type Entry } from '../delivery/backlog.ts'
import { deliverBacklog, type Partition, unsavedMax } from '../delivery/delivery.ts'
import { type Following, type Subscription, wants } from '../delivery/subscription.ts'
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

/** The most events that are read at once. */
const READ_MAX = 500
const IDLE_MS = 100
/** The pause between attempts to take the cursor, and after an error of the database. */
const RETAKE_MS = 1_000

/**
 * Delivers each topic's events from the group's last position on, at least once each, and the events of one product in order. A rejected event is
 * dead-lettered. An event to be retried holds back the later events of its product until it succeeds or has used up its attempts.
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
      else logger()[levelOf(error)]({ group, topic, err: error }, 'consumer interrupted; it will try again')
    }
    await pause(jittered(RETAKE_MS), signal)
  }
}

/** Consumes until `signal` is aborted. Throws CursorLost. */
async function consume(signal: AbortSignal, subscription: Subscription, cursor: Cursor): Promise<void> {
  const { topic } = cursor
  const { max, waitMs } = subscription.batch ?? { max: 1, waitMs: 0 }
  const heartbeats = startHeartbeats(cursor)
  const backlog = createBacklog<LogEntry>(cursor.progress)
  const suspicion = { unverified: cursor.afterCrash ? unsavedMax(subscription) : 0, afterCrash: cursor.afterCrash }
  const partition: Partition<LogEntry> = { subscription, topic, backlog, suspicion }
  const limit = Math.max(READ_MAX, max)
  const session = sessionOf(signal, cursor, heartbeats)
  let ahead: Promise<LoggedEvent[]> | undefined
  try {
    while (!signal.aborted) {
      const isFull = backlog.isFull()
      const events = isFull ? [] : await (ahead ?? readLog(topic, backlog.read(), limit))
      backlog.add(events.map((event) => toEntry(event, subscription)))
      // Read while these are delivered. If the read fails, the next turn still awaits it.
      if (!isFull) ahead = events.length === limit ? readLog(topic, backlog.read(), limit) : undefined
      ahead?.catch(() => {})
      const largest = await deliverBacklog(partition, session)
      if (events.length > 0 && largest === 0 && !signal.aborted) await session.save(backlog.progress())
      if (events.length === 0) await pause(Math.min(IDLE_MS, backlog.dueMs()), signal)
      else if (events.length < limit && largest < max) await pause(waitMs, signal)
    }
  } finally {
    heartbeats.stop()
    await releaseCursor(cursor).catch((error) =>
      logger().warn({ err: error, topic }, 'could not release the cursor; its lease will expire'),
    )
  }
}

interface LogEntry extends Entry {
  event: LoggedEvent
}

function toEntry(event: LoggedEvent, subscription: Subscription): LogEntry {
  const { position, productId, type } = event
  return { position, key: productId, content: wants(subscription, type) ? event : undefined, event }
}

function sessionOf(signal: AbortSignal, cursor: Cursor, heartbeats: { isLost: () => boolean }) {
  return {
    isOver() {
      if (heartbeats.isLost()) throw new CursorLost()
      return signal.aborted
    },
    save: (progress: Cursor['progress']) => saveCursor(cursor, progress),
    async deadLetter({ event }: LogEntry, attempts: number, error: string) {
      await deadLetterEvent(cursor, event, attempts, error)
      return true
    },
  }
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
