import type { EachBatchPayload } from 'kafkajs'
import { pause } from '#async'
import { deliverBacklog, type Session } from '../delivery/delivery.ts'
import type { Progress } from '../delivery/progress.ts'
import { type DeadLetterOptions, deadLetter } from './dead-letter.ts'
import { type MessageEntry, toEntry } from './message.ts'
import { type PartitionState, type PartitionStates, toOffset } from './partition-state.ts'

/** The driver knows when a heartbeat is due. This is only how often this code asks it. */
const HEARTBEAT_MS = 1_000

export interface BatchHandlerOptions extends DeadLetterOptions {
  signal: AbortSignal
  partitions: PartitionStates
  /** Makes the driver read the partition again from an offset. */
  seek: (topic: string, partition: number, offset: string) => void
}

/**
 * Creates the handler of the driver's batches, each of one partition. It delivers their messages and commits how far the group has come. Entries
 * that wait for another attempt stay in memory, and a wake-up makes the driver hand over the partition again. The other messages go on.
 */
export function createBatchHandler(options: BatchHandlerOptions): (payload: EachBatchPayload) => Promise<void> {
  const { signal, subscription, partitions } = options
  const { max, waitMs } = subscription.batch ?? { max: 1, waitMs: 0 }
  return async (payload) => {
    const { batch, isRunning, isStale, resolveOffset } = payload
    const { topic, partition, messages } = batch
    const state = await partitions.get(topic, partition, messages[0]?.offset ?? '0')
    const { backlog } = state
    if (!isAligned(state, payload, options)) return
    const heartbeats = startHeartbeats(payload)
    const isOver = () => signal.aborted || !isRunning() || isStale() || heartbeats.failure() !== undefined
    const session = sessionOf(payload, isOver, options)
    state.cancelWakeUp()
    state.isBusy = true
    try {
      const isFull = backlog.isFull()
      if (!isFull) backlog.add(messages.map((message) => toEntry(message, partition, subscription)))
      const largest = await deliverBacklog(state, session)
      const last = messages.at(-1)
      if (!isFull && last && !isOver()) resolveOffset(last.offset)
      if (!isFull && largest === 0 && !isOver()) await session.save(backlog.progress())
      if (largest > 0 && largest < max) await pause(waitMs, signal)
    } finally {
      state.isBusy = false
      heartbeats.stop()
    }
    planWakeUp(state, payload, options)
    const failure = heartbeats.failure()
    // The error tells the driver to join its group again.
    if (failure) throw failure
  }
}

/**
 * Whether a new state's first messages are the next ones. The driver keeps a seek over a rebalance, so the wake-up of a forgotten state could lead
 * past entries that had waited. Then this seeks back once. Messages that are still missing after that are gone.
 */
function isAligned(state: PartitionState, { batch }: EachBatchPayload, { seek }: BatchHandlerOptions): boolean {
  if (state.isAligned) return true
  state.isAligned = true
  const next = state.backlog.read() + 1
  if (Number(batch.messages[0]?.offset ?? 0) <= next) return true
  seek(batch.topic, batch.partition, String(next))
  return false
}

/** The driver hands over messages only if there are some. So the last one is read again; the backlog knows it and leaves it out. */
function planWakeUp(
  state: PartitionState,
  { batch, pause: pausePartition }: EachBatchPayload,
  options: BatchHandlerOptions,
) {
  const { topic, partition } = batch
  const { backlog } = state
  const dueMs = backlog.dueMs()
  if (dueMs === Number.POSITIVE_INFINITY) return
  const resume = backlog.isFull() ? pausePartition() : () => {}
  const timer = setTimeout(() => {
    resume()
    if (!state.isBusy && options.partitions.isCurrent(topic, partition, state))
      options.seek(topic, partition, String(backlog.read()))
  }, dueMs).unref()
  state.cancelWakeUp = () => {
    clearTimeout(timer)
    resume()
  }
}

function sessionOf(
  { batch, commitOffsetsIfNecessary }: EachBatchPayload,
  isOver: () => boolean,
  options: BatchHandlerOptions,
): Session<MessageEntry> {
  const { topic, partition } = batch
  return {
    isOver,
    save: (progress: Progress) =>
      commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, ...toOffset(progress) }] }] }),
    deadLetter: ({ message }, attempts, error) => deadLetter(message, batch, attempts, error, options),
  }
}

/** Sends heartbeats, however long the current delivery takes. */
function startHeartbeats({ heartbeat }: EachBatchPayload): { failure: () => Error | undefined; stop: () => void } {
  let failure: Error | undefined
  const timer = setInterval(() => {
    heartbeat().catch((error: Error) => {
      failure = error
    })
  }, HEARTBEAT_MS)
  return { failure: () => failure, stop: () => clearInterval(timer) }
}
