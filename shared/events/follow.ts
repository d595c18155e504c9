import { setTimeout as sleep } from 'node:timers/promises'
import type { Outcome } from '#errors'
import { newId } from '#ids'
import { counter, gauge, logger } from '#telemetry'
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
import { checkEventsSettings } from './settings.ts'

export interface Subscription {
  topics: readonly string[]
  /** Followers of one group share its cursors: one of them gets a topic's events, and another takes over when it is gone. */
  group: string
  /** The event types that are delivered; the others are passed over. */
  types?: readonly string[] | undefined
  /** Must not throw. */
  deliver: (event: LoggedEvent, topic: string) => Promise<Outcome>
}

export interface Following {
  /** Takes no more events, and resolves when those in hand are dealt with. */
  stop: () => Promise<void>
}

/** Events read at once, and delivered again at most if the process is killed: the cursor is saved after each batch. */
const BATCH_MAX = 100
const IDLE_MS = 100
/** How often a follower that has to wait for the cursor asks for it, and how long it rests after an error of the database. */
const RETAKE_MS = 1_000
/** With the back-off below, ten attempts take 50 s on average: a restart of what a function needs is survived. */
const ATTEMPTS_MAX = 10
const BACKOFF_BASE_MS = 100
const BACKOFF_MAX_MS = 60_000

const delivered = counter('stream_events_total', 'Events delivered to a consumer group, by verdict.', [
  'group',
  'verdict',
])
const lag = gauge('stream_lag_seconds', 'Age of the event of a topic that a consumer group has dealt with last.', [
  'group',
  'topic',
])

/**
 * Delivers each topic's events in order, one at a time, from where the group has come to: at least once each. One that is
 * rejected is put among the dead events, one to be retried stops its topic until it succeeds or has used up its attempts.
 */
export function follow(subscription: Subscription): Following {
  checkEventsSettings()
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
    await pause(signal, RETAKE_MS * (0.5 + Math.random()))
  }
}

/** Until it is to stop, or the cursor is lost, which throws. */
async function consume(signal: AbortSignal, subscription: Subscription, cursor: Cursor): Promise<void> {
  const life = startHeartbeat(cursor)
  try {
    while (!signal.aborted) {
      const events = await readLog(cursor.topic, cursor.position, BATCH_MAX)
      for (const event of events) {
        if (life.isLost()) throw new CursorLost()
        if (signal.aborted || !(await pass(subscription, cursor, event))) break
      }
      if (events.length > 0) await saveCursor(cursor)
      if (events.length === 0) await pause(signal, IDLE_MS)
      else if (cursor.attempts > 0) await pause(signal, backoffMs(cursor.attempts))
    }
  } finally {
    life.stop()
    // Where even this fails, the cursor is free again when its time is up.
    await releaseCursor(cursor).catch((error) => logger().warn({ err: error, topic: cursor.topic }, 'cursor kept'))
  }
}

/** Delivers one event and moves the cursor past it, in memory. False if it is to be delivered again. */
async function pass({ types, deliver }: Subscription, cursor: Cursor, event: LoggedEvent): Promise<boolean> {
  const { group } = cursor
  const outcome: Outcome =
    !types || types.includes(event.type) ? await deliver(event, cursor.topic) : { verdict: 'acknowledge' }
  delivered.inc({ group, verdict: outcome.verdict })
  lag.set({ group, topic: cursor.topic }, (Date.now() - event.occurredAt.getTime()) / 1000)
  const attempts = cursor.attempts + 1
  if (outcome.verdict === 'retry' && attempts < ATTEMPTS_MAX) {
    logger().warn({ group, event: event.id, attempts, reason: outcome.error }, 'an event will be delivered again')
    cursor.attempts = attempts
    return false
  }
  Object.assign(cursor, { position: event.position, attempts: 0 })
  if (outcome.verdict !== 'acknowledge') {
    logger().error({ group, event: event.id, attempts, reason: outcome.error }, 'an event is dead')
    await buryEvent(cursor, event, attempts, outcome.error)
  }
  return true
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

/** Resolves early when `signal` is aborted. */
async function pause(signal: AbortSignal, ms: number): Promise<void> {
  // Rejects when it is aborted, which every caller looks at next.
  await sleep(ms, undefined, { signal }).catch(() => {})
}

/** "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ */
function backoffMs(attempts: number): number {
  return Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** attempts)
}
