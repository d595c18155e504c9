import type { Kafka, OffsetsByTopicPartition } from 'kafkajs'
import { BROKEN_OFF } from '../delivery.ts'
import { ATTEMPTS_MAX } from '../waits.ts'

/** Events of a partition that are in hand, or done with and not committed yet, at the most. */
export const UNCOMMITTED_MAX = 100

/**
 * How attempts are counted where the count outlives the process: beside the group's offset of a partition, as its metadata, is
 * how many attempts were begun at the event there. The usual event succeeds at once and costs no request, since the count goes
 * with offsets that are committed anyway. An attempt is written down before it is made only
 *
 * - from an event's second on;
 * - for the first event after a partition is taken over: if that or one behind it kills the process, the count is left behind;
 * - after that, for as many events as may have been in hand when a count was left behind. One of them may be a killer, so they
 *   are delivered one at a time in all of the process: what lives through another's kill is not counted for it.
 *
 * So an event is known for a killer by the second process that it kills, or the third.
 */
export interface Place {
  /** The event that was tried last, and what came of the last attempt. */
  tried: { offset: string; attempts: number; error: string }
  /** Deliveries in vain since an event was passed, those that are not held against it included. */
  failures: number
  /** How many events are yet to be written down before they are tried at all. */
  suspects: number
  /** Whether those are delivered one at a time. */
  isAfterDeath: boolean
}

/** By topic and partition. */
type LeftBehind = ReadonlyMap<string, { offset: string; attempts: number }>

/** The partitions that a follower works on. */
export interface Places {
  /** For when the group has shared out its partitions anew: others may have been at work on any of them. */
  forget: () => void
  /** Asks, the first time after that, what others have left behind. */
  take: (topic: string, partition: number) => Promise<Place>
  /** The same offsets, with the attempts at the events there. */
  withAttempts: (offsets: OffsetsByTopicPartition) => OffsetsByTopicPartition
}

export function createPlaces(readLeftBehind: () => Promise<LeftBehind>): Places {
  const places = new Map<string, Place>()
  let reading: Promise<LeftBehind> | undefined
  return {
    forget() {
      places.clear()
      reading = undefined
    },
    async take(topic, partition) {
      const name = nameOf(topic, partition)
      const known = places.get(name)
      if (known) return known
      reading ??= readLeftBehind()
      const left = (await reading).get(name)
      const place = left
        ? { tried: { ...left, error: BROKEN_OFF }, failures: 0, suspects: UNCOMMITTED_MAX, isAfterDeath: true }
        : { tried: { offset: '', attempts: 0, error: BROKEN_OFF }, failures: 0, suspects: 1, isAfterDeath: false }
      places.set(name, place)
      return place
    },
    withAttempts: ({ topics }) => ({
      topics: topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition, offset }) => {
          const tried = places.get(nameOf(topic, partition))?.tried
          return { partition, offset, metadata: tried?.offset === offset ? toMetadata(tried.attempts) : '' }
        }),
      })),
    }),
  }
}

/**
 * Counts one more attempt at the event at `offset`, and writes that down where it is due. False if it has used up all of them:
 * then `place.tried` says what came of the last.
 */
export async function beginAttempt(place: Place, offset: string, write: () => Promise<void>): Promise<boolean> {
  if (place.tried.offset !== offset) place.tried = { offset, attempts: 0, error: BROKEN_OFF }
  const { tried } = place
  if (tried.attempts >= ATTEMPTS_MAX) return false
  tried.attempts++
  if (tried.attempts > 1 || place.suspects > 0) await write()
  return true
}

/** Reads what the group's offsets say of attempts that were begun. */
export async function readLeftBehind(kafka: Kafka, groupId: string, topics: string[]): Promise<LeftBehind> {
  const admin = kafka.admin()
  try {
    await admin.connect()
    const left = new Map<string, { offset: string; attempts: number }>()
    for (const { topic, partitions } of await admin.fetchOffsets({ groupId, topics })) {
      for (const { partition, offset, metadata } of partitions) {
        const attempts = toAttempts(metadata)
        if (attempts > 0) left.set(nameOf(topic, partition), { offset, attempts })
      }
    }
    return left
  } finally {
    // Whatever is wrong with it, this connection is done with.
    await admin.disconnect().catch(() => {})
  }
}

const nameOf = (topic: string, partition: number) => `${topic} ${partition}`

const toMetadata = (attempts: number) => `attempts=${attempts}`

const toAttempts = (metadata: string | null) => Number(/^attempts=(\d+)$/.exec(metadata ?? '')?.[1] ?? 0)
