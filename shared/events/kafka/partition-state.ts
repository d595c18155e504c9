import type { Kafka, OffsetsByTopicPartition } from 'kafkajs'
import { INTERRUPTED } from '../delivery.ts'
import { ATTEMPTS_MAX } from '../waits.ts'

/** Events of a partition that are being delivered, or are done and not committed yet. */
export const UNCOMMITTED_MAX = 100

/**
 * What a follower knows of one partition. The count of attempts outlives the process: the metadata of the group's offset says how many
 * attempts at the event there have begun. An event that succeeds at once costs no request, because the count goes with offsets that
 * are committed anyway. An attempt is recorded before it is made only
 *
 * - from an event's second attempt on;
 * - for the first event after a partition is assigned: the count remains if that event, or one behind it, crashes the process;
 * - for the next 100 events where a count remained. Each of them may have crashed the process, so they are delivered one at a time in
 *   all of this process: an event that survives another's crash is not counted for it.
 *
 * So a poison message is identified after two or three crashes.
 */
export interface PartitionState {
  /** The event that was tried last, and the error of its last attempt. */
  tried: { offset: string; attempts: number; error: string }
  /** Failed deliveries in a row, those that do not count as attempts included. */
  failures: number
  /** How many of the next events have to be recorded before their first attempt. */
  unverifiedCount: number
  /** Whether a crash may have been the fault of one of those. */
  afterCrash: boolean
}

/** By topic and partition: the attempts that have begun at the event at an offset. */
type BegunAttempts = ReadonlyMap<string, { offset: string; attempts: number }>

/** The states of the partitions that a follower works on. */
export interface PartitionStates {
  /** Forgets all of them, after a rebalance: other followers may have worked on any partition since. */
  forget: () => void
  /** The first call after that asks Kafka for the attempts that others have begun. */
  get: (topic: string, partition: number) => Promise<PartitionState>
  /** The same offsets, with the attempts at the events there as metadata. */
  withAttempts: (offsets: OffsetsByTopicPartition) => OffsetsByTopicPartition
}

export function createPartitionStates(readBegun: () => Promise<BegunAttempts>): PartitionStates {
  const states = new Map<string, PartitionState>()
  let reading: Promise<BegunAttempts> | undefined
  return {
    forget() {
      states.clear()
      reading = undefined
    },
    async get(topic, partition) {
      const name = nameOf(topic, partition)
      const known = states.get(name)
      if (known) return known
      reading ??= readBegun()
      const begun = (await reading).get(name)
      const state = begun
        ? { tried: { ...begun, error: INTERRUPTED }, failures: 0, unverifiedCount: UNCOMMITTED_MAX, afterCrash: true }
        : { tried: { offset: '', attempts: 0, error: INTERRUPTED }, failures: 0, unverifiedCount: 1, afterCrash: false }
      states.set(name, state)
      return state
    },
    withAttempts: ({ topics }) => ({
      topics: topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition, offset }) => {
          const tried = states.get(nameOf(topic, partition))?.tried
          return { partition, offset, metadata: tried?.offset === offset ? toMetadata(tried.attempts) : '' }
        }),
      })),
    }),
  }
}

/**
 * Counts one more attempt at the event at `offset`, and calls `record` where that has to outlive the process. False if the event has
 * used up its attempts: `state.tried` then has the error of the last.
 */
export async function beginAttempt(
  state: PartitionState,
  offset: string,
  record: () => Promise<void>,
): Promise<boolean> {
  if (state.tried.offset !== offset) state.tried = { offset, attempts: 0, error: INTERRUPTED }
  const { tried } = state
  if (tried.attempts >= ATTEMPTS_MAX) return false
  tried.attempts++
  if (tried.attempts > 1 || state.unverifiedCount > 0) await record()
  return true
}

/** Reads the attempts that the metadata of the group's offsets counts. */
export async function readBegunAttempts(kafka: Kafka, groupId: string, topics: string[]): Promise<BegunAttempts> {
  const admin = kafka.admin()
  try {
    await admin.connect()
    const begun = new Map<string, { offset: string; attempts: number }>()
    for (const { topic, partitions } of await admin.fetchOffsets({ groupId, topics })) {
      for (const { partition, offset, metadata } of partitions) {
        const attempts = toAttempts(metadata)
        if (attempts > 0) begun.set(nameOf(topic, partition), { offset, attempts })
      }
    }
    return begun
  } finally {
    // The connection is not used again, so a failure to close it does no harm.
    await admin.disconnect().catch(() => {})
  }
}

const nameOf = (topic: string, partition: number) => `${topic} ${partition}`

const toMetadata = (attempts: number) => `attempts=${attempts}`

const toAttempts = (metadata: string | null) => Number(/^attempts=(\d+)$/.exec(metadata ?? '')?.[1] ?? 0)
