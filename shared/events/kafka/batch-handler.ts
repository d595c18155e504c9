import type { EachBatchPayload, KafkaMessage, Message } from 'kafkajs'
import * as z from 'zod'
import { cutText } from '#errors'
import { logger } from '#telemetry'
import { attemptDelivery, countDead, inTurn, type Next, type Subscription, wants } from '../delivery.ts'
import { backoffMs } from '../waits.ts'
import { beginAttempt, type Place, type Places, UNCOMMITTED_MAX } from './attempts.ts'
import { toEvent, typeOf, Unreadable } from './message.ts'

/** Offsets are committed after 100 events or so long, and at a batch's end: as many may be delivered again after a crash. */
const COMMIT_MS = 1_000
/** How often a sign of life is due is the driver's to know: this is only how often it is asked. */
const HEARTBEAT_MS = 1_000
/** A reason longer than this says no more. */
const ERROR_MAX = 1_000

/** The headers of a dead letter, besides those of the message: where it was, and why it is there. */
export const DeadLetterHeaders = z
  .object({
    dead_group: z.string(),
    dead_topic: z.string(),
    dead_partition: z.string(),
    dead_offset: z.string(),
    dead_attempts: z.string(),
    dead_error: z.string(),
  })
  .meta({ id: 'DeadLetterHeaders' })

/**
 * What a consumer does with the messages of one partition: delivers them one after the other, and commits what it is through
 * with. One that is to be tried again stops its partition for a while, and the others go on. `bury` takes dead letters; while
 * it fails they stay where they are, and so does the partition. `nameOf` gives the name that the service has for a topic of
 * Kafka.
 */
export function createBatchHandler(
  signal: AbortSignal,
  subscription: Subscription,
  places: Places,
  nameOf: (topic: string) => string,
  bury: (topic: string, letter: Message) => Promise<void>,
): (payload: EachBatchPayload) => Promise<void> {
  /** Delivers a message, or buries it. False if it is to be delivered again. */
  async function pass(message: KafkaMessage, place: Place, payload: EachBatchPayload): Promise<boolean> {
    const { topic, partition } = payload.batch
    const here = { topics: [{ topic, partitions: [{ partition, offset: message.offset }] }] }
    const write = () => payload.commitOffsetsIfNecessary(places.withAttempts(here))
    if (await beginAttempt(place, message.offset, write)) {
      const next = await attempt(subscription, nameOf(topic), message, place.tried.attempts)
      if (next.step === 'again' && !next.isCounted) place.tried.attempts--
      if (next.step !== 'bury') return next.step === 'pass'
      place.tried.error = next.error
    } else {
      const { group } = subscription
      logger().error({ group, topic, partition, ...place.tried }, 'an event is dead: it has used up its attempts')
    }
    return isBuried(message, payload.batch, place.tried)
  }

  const isWanted = (message: KafkaMessage) => {
    const type = typeOf(message)
    return type === undefined || wants(subscription, type)
  }

  async function isBuried(
    message: KafkaMessage,
    { topic, partition }: EachBatchPayload['batch'],
    { attempts, error }: Place['tried'],
  ): Promise<boolean> {
    const { group } = subscription
    const death: z.infer<typeof DeadLetterHeaders> = {
      dead_group: group,
      dead_topic: topic,
      dead_partition: String(partition),
      dead_offset: message.offset,
      dead_attempts: String(attempts),
      dead_error: cutText(error, ERROR_MAX),
    }
    try {
      await bury(nameOf(topic), { key: message.key, value: message.value, headers: { ...message.headers, ...death } })
      countDead(subscription)
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
    const place = await places.take(batch.topic, batch.partition)
    const life = keepAlive(payload)
    const commits = createCommits(payload, places)
    const isOver = () => signal.aborted || !isRunning() || isStale() || life.failure() !== undefined
    try {
      for (const message of batch.messages) {
        if (isOver()) break
        if (isWanted(message)) {
          const mayKill = place.isAfterDeath && place.suspects > 0
          const isPassed = await inTurn(mayKill, async () => (isOver() ? undefined : pass(message, place, payload)))
          if (isPassed === false) setTimeout(payload.pause(), backoffMs(++place.failures)).unref()
          if (!isPassed) break
          place.failures = 0
          if (place.suspects > 0) place.suspects--
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
function createCommits({ uncommittedOffsets, commitOffsetsIfNecessary }: EachBatchPayload, places: Places) {
  let passed = 0
  let committedAt = performance.now()
  async function now(): Promise<void> {
    passed = 0
    committedAt = performance.now()
    await commitOffsetsIfNecessary(places.withAttempts(uncommittedOffsets()))
  }
  return {
    now,
    async ifDue(): Promise<void> {
      passed++
      if (passed >= UNCOMMITTED_MAX || performance.now() - committedAt >= COMMIT_MS) await now()
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
