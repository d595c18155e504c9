import type { EachBatchPayload, KafkaMessage } from 'kafkajs'
import { oneAtATime, wants } from '../delivery.ts'
import { backoffMs } from '../waits.ts'
import { type DeliveryOptions, deliverMessage } from './deliver-message.ts'
import { typeOf } from './message.ts'
import { type PartitionState, type PartitionStates, UNCOMMITTED_MAX } from './partition-state.ts'

/** Offsets are committed after 100 events or this long, and at a batch's end: as many may be delivered again after a crash. */
const COMMIT_MS = 1_000
/** The driver knows when a heartbeat is due. This is only how often it is asked. */
const HEARTBEAT_MS = 1_000

export interface BatchHandlerOptions extends DeliveryOptions {
  signal: AbortSignal
}

/**
 * Makes the handler of one partition's batches: it delivers their messages one after the other, and commits the offsets of those that
 * it is done with. A message that is to be delivered again pauses its partition for a while. The other partitions go on.
 */
export function createBatchHandler(options: BatchHandlerOptions): (payload: EachBatchPayload) => Promise<void> {
  const { signal, subscription, partitions } = options

  function isWanted(message: KafkaMessage): boolean {
    const type = typeOf(message)
    return type === undefined || wants(subscription, type)
  }

  return async (payload) => {
    const { batch, isRunning, isStale, resolveOffset } = payload
    const state = await partitions.get(batch.topic, batch.partition)
    const heartbeats = startHeartbeats(payload)
    const commits = createCommits(payload, partitions)
    const isOver = () => signal.aborted || !isRunning() || isStale() || heartbeats.failure() !== undefined
    try {
      for (const message of batch.messages) {
        if (isOver()) break
        if (isWanted(message) && !(await handleMessage(message, state, payload, isOver, options))) break
        resolveOffset(message.offset)
        await commits.ifDue()
      }
    } finally {
      heartbeats.stop()
    }
    await commits.now()
    const failure = heartbeats.failure()
    // Tells the driver to join its group again.
    if (failure) throw failure
  }
}

/** False ends the batch before this message: it is to be delivered again, after a pause, or `isOver`. */
async function handleMessage(
  message: KafkaMessage,
  state: PartitionState,
  payload: EachBatchPayload,
  isOver: () => boolean,
  options: DeliveryOptions,
): Promise<boolean> {
  const mayCrash = state.afterCrash && state.unverifiedCount > 0
  const isDone = await oneAtATime(mayCrash, async () =>
    isOver() ? undefined : deliverMessage(message, state, payload, options),
  )
  if (isDone === false) setTimeout(payload.pause(), backoffMs(++state.failures)).unref()
  if (!isDone) return false
  state.failures = 0
  if (state.unverifiedCount > 0) state.unverifiedCount--
  return true
}

/** Commits the offsets of all partitions that are worked on. */
function createCommits(
  { uncommittedOffsets, commitOffsetsIfNecessary }: EachBatchPayload,
  partitions: PartitionStates,
) {
  let passed = 0
  let committedAt = performance.now()
  async function now(): Promise<void> {
    passed = 0
    committedAt = performance.now()
    await commitOffsetsIfNecessary(partitions.withAttempts(uncommittedOffsets()))
  }
  return {
    now,
    async ifDue(): Promise<void> {
      passed++
      if (passed >= UNCOMMITTED_MAX || performance.now() - committedAt >= COMMIT_MS) await now()
    },
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
