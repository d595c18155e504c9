import type { Kafka } from 'kafkajs'
import * as z from 'zod'
import { createBacklog } from '../delivery/backlog.ts'
import { type Partition, unsavedMax } from '../delivery/delivery.ts'
import type { Progress } from '../delivery/progress.ts'
import type { Subscription } from '../delivery/subscription.ts'
import type { MessageEntry } from './message.ts'

/**
 * A follower's knowledge of one partition. Its progress outlives the process: the metadata of the group's offset tells how many attempts at the
 * event at that offset have begun, and which later events are done. An event that succeeds at once costs no request, because the metadata is sent
 * with offsets that are committed anyway. An attempt is recorded before it is made only
 *
 * - from an event's second attempt on;
 * - for the first event after a partition is assigned: the count remains if that event, or one behind it, crashes the process;
 * - for the next events after a count that remained, as many as are committed at once. Each of them may have crashed the process, so they are
 *   delivered one at a time in the whole process: an event must not be counted for a crash that another event caused.
 *
 * So a poison message is identified after two or three crashes.
 */
export interface PartitionState extends Partition<MessageEntry> {
  /** Whether its messages are being delivered. */
  isBusy: boolean
  /** Whether its messages are known to begin at the group's progress. */
  isAligned: boolean
  /** Cancels the planned delivery of waiting entries. */
  cancelWakeUp: () => void
}

/** The committed progress, by topic and partition. */
type Committed = ReadonlyMap<string, Progress>

/** The states of the partitions that a follower works on. */
export interface PartitionStates {
  /** Forgets all states after a rebalance: other followers may have worked on any partition since. */
  forget: () => void
  /** The first call after a rebalance asks Kafka for the progress that others have committed. */
  get: (topic: string, partition: number, firstOffset: string) => Promise<PartitionState>
  isCurrent: (topic: string, partition: number, state: PartitionState) => boolean
}

export function createPartitionStates(
  subscription: Subscription,
  nameOf: (topic: string) => string,
  readCommitted: () => Promise<Committed>,
): PartitionStates {
  const states = new Map<string, PartitionState>()
  let reading: Promise<Committed> | undefined
  return {
    forget() {
      for (const { cancelWakeUp } of states.values()) cancelWakeUp()
      states.clear()
      reading = undefined
    },
    async get(topic, partition, firstOffset) {
      const id = idOf(topic, partition)
      const known = states.get(id)
      if (known) return known
      reading ??= readCommitted()
      const committed = (await reading).get(id)
      const start = committed ?? { position: Number(firstOffset) - 1, attempts: 0, ahead: null }
      const afterCrash = start.attempts > 0
      const suspicion = { unverified: afterCrash ? unsavedMax(subscription) : 1, afterCrash }
      const backlog = createBacklog<MessageEntry>(start)
      const state: PartitionState = {
        subscription,
        topic: nameOf(topic),
        backlog,
        suspicion,
        isBusy: false,
        isAligned: false,
        cancelWakeUp: () => {},
      }
      states.set(id, state)
      return state
    },
    isCurrent: (topic, partition, state) => states.get(idOf(topic, partition)) === state,
  }
}

/** Reads the progress in the group's offsets and their metadata. */
export async function readCommitted(kafka: Kafka, groupId: string, topics: string[]): Promise<Committed> {
  const admin = kafka.admin()
  try {
    await admin.connect()
    const committed = new Map<string, Progress>()
    for (const { topic, partitions } of await admin.fetchOffsets({ groupId, topics })) {
      for (const { partition, offset, metadata } of partitions) {
        // -1: the group has committed nothing.
        if (Number(offset) >= 0) committed.set(idOf(topic, partition), toProgress(offset, metadata))
      }
    }
    return committed
  } finally {
    // The connection is not used again, so a failure to close it does no harm.
    await admin.disconnect().catch(() => {})
  }
}

const idOf = (topic: string, partition: number) => `${topic} ${partition}`

/** Kafka accepts 4,096 bytes by default. */
const METADATA_MAX = 4_000

/**
 * The offset to commit, which is that of the next message, and its metadata. If too many keys wait to fit into the metadata, finished events behind
 * the offset are delivered again after a restart.
 */
export function toOffset({ position, attempts, ahead }: Progress): { offset: string; metadata: string } {
  const waiting = ahead?.waiting.map((head) => [head.key, head.position - position, head.attempts])
  const count = attempts > 0 || ahead ? `attempts=${attempts}` : ''
  const metadata = ahead ? `${count} ${JSON.stringify([ahead.passed - position, waiting])}` : count
  return { offset: String(position + 1), metadata: Buffer.byteLength(metadata) > METADATA_MAX ? count : metadata }
}

const Ahead = z.tuple([z.number(), z.array(z.tuple([z.string(), z.number(), z.number()]))])

export function toProgress(offset: string, metadata: string | null): Progress {
  const position = Number(offset) - 1
  const [, attempts = '0', json] = /^attempts=(\d+)(?: (\[.*\]))?$/.exec(metadata ?? '') ?? []
  if (json === undefined) return { position, attempts: Number(attempts), ahead: null }
  const [passed, waiting] = Ahead.parse(JSON.parse(json))
  const heads = waiting.map(([key, at, begun]) => ({ key, position: position + at, attempts: begun }))
  return { position, attempts: Number(attempts), ahead: { passed: position + passed, waiting: heads } }
}
