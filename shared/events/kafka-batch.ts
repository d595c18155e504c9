import type { EachBatchPayload, KafkaMessage, Message } from 'kafkajs'
import * as z from 'zod'
import { logger } from '#telemetry'
import { attemptDelivery, type Next, type Subscription, wants } from './delivery.ts'
import { toEvent, typeOf, Unreadable } from './kafka-message.ts'
import { backoffMs } from './waits.ts'

/** Offsets are committed after so many events or so long, and at a batch's end: as many may be delivered again after a crash. */
const COMMIT_EVENTS = 100
const COMMIT_MS = 1_000
/** How often a sign of life is due is the driver's to know: this is only how often it is asked. */
const HEARTBEAT_MS = 1_000
/** A reason longer than this says no more. */
const ERROR_MAX = 1_000

/** The headers of a dead letter, besides those of the message: where it was, and why it is there. */
export const DeadLetterHeaders = z.object({
  dead_group: z.string(),
  dead_topic: z.string(),
  dead_partition: z.string(),
  dead_offset: z.string(),
  dead_attempts: z.string(),
  dead_error: z.string(),
})

/** Where a partition is stuck: at an offset, after so many failures. */
interface Stuck {
  offset: string
  attempts: number
}

/**
 * What a consumer does with the messages of one partition: delivers them one after the other, and commits what it is through
 * with. One that is to be tried again stops its partition for a while, and the others go on. `bury` takes dead letters; while
 * it fails they stay where they are, and so does the partition. `nameOf` gives the name that the service has for a topic of
 * Kafka.
 */
export function createBatchHandler(
  signal: AbortSignal,
  subscription: Subscription,
  nameOf: (topic: string) => string,
  bury: (topic: string, letter: Message) => Promise<void>,
): (payload: EachBatchPayload) => Promise<void> {
  /** By topic and partition. */
  const stuck = new Map<string, Stuck>()

  /** False if the message is to be delivered again. */
  async function pass(message: KafkaMessage, { topic, partition }: EachBatchPayload['batch']): Promise<boolean> {
    const place = `${topic} ${partition}`
    const type = typeOf(message)
    if (type !== undefined && !wants(subscription, type)) return true
    const attempts = attemptsOf(place, message) + 1
    const next = await attempt(subscription, nameOf(topic), message, attempts)
    if (
      next.step === 'again' ||
      (next.step === 'bury' && !(await isBuried(message, topic, partition, attempts, next.error)))
    ) {
      stuck.set(place, { offset: message.offset, attempts })
      return false
    }
    stuck.delete(place)
    return true
  }

  function attemptsOf(place: string, { offset }: KafkaMessage): number {
    const failed = stuck.get(place)
    return failed?.offset === offset ? failed.attempts : 0
  }

  async function isBuried(message: KafkaMessage, topic: string, partition: number, attempts: number, error: string) {
    const { group } = subscription
    const death: z.infer<typeof DeadLetterHeaders> = {
      dead_group: group,
      dead_topic: topic,
      dead_partition: String(partition),
      dead_offset: message.offset,
      dead_attempts: String(attempts),
      dead_error: error.slice(0, ERROR_MAX),
    }
    try {
      await bury(topic, { key: message.key, value: message.value, headers: { ...message.headers, ...death } })
      return true
    } catch (failure) {
      logger().error(
        { group, topic, partition, offset: message.offset, err: failure },
        'a dead letter can not be written',
      )
      return false
    }
  }

  return async (payload) => {
    const { batch, isRunning, isStale, resolveOffset } = payload
    const life = keepAlive(payload)
    const commits = createCommits(payload)
    try {
      for (const message of batch.messages) {
        if (signal.aborted || !isRunning() || isStale() || life.failure()) break
        if (!(await pass(message, batch))) {
          const resume = payload.pause()
          setTimeout(resume, backoffMs(attemptsOf(`${batch.topic} ${batch.partition}`, message))).unref()
          break
        }
        resolveOffset(message.offset)
        await commits.ifDue()
      }
    } finally {
      life.stop()
    }
    await commits.now()
    const failure = life.failure()
    // The driver learns from it that it has to join its group again.
    if (failure) throw failure
  }
}

async function attempt(
  subscription: Subscription,
  topic: string,
  message: KafkaMessage,
  attempts: number,
): Promise<Next> {
  try {
    return await attemptDelivery(subscription, topic, toEvent(message), attempts)
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    logger().error({ group: subscription.group, offset: message.offset, err: error }, 'a message is no event')
    return { step: 'bury', error: error.message }
  }
}

/** Commits the offsets of all partitions that are worked on. */
function createCommits({ uncommittedOffsets, commitOffsetsIfNecessary }: EachBatchPayload) {
  let passed = 0
  let committedAt = performance.now()
  async function now(): Promise<void> {
    passed = 0
    committedAt = performance.now()
    await commitOffsetsIfNecessary(uncommittedOffsets())
  }
  return {
    now,
    async ifDue(): Promise<void> {
      passed++
      if (passed >= COMMIT_EVENTS || performance.now() - committedAt >= COMMIT_MS) await now()
    },
  }
}

/** Says that the consumer is alive, whatever the delivery in hand takes. */
function keepAlive({ heartbeat }: EachBatchPayload): { failure: () => Error | undefined; stop: () => void } {
  let failure: Error | undefined
  const timer = setInterval(() => {
    heartbeat().catch((error: Error) => {
      failure = error
    })
  }, HEARTBEAT_MS)
  return { failure: () => failure, stop: () => clearInterval(timer) }
}
