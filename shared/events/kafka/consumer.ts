import type { Consumer, Message } from 'kafkajs'
import { pause, withTimeout } from '#async'
import { counter, logger } from '#telemetry'
import type { Following, Subscription } from '../delivery.ts'
import type { KafkaSettings } from '../settings.ts'
import { backoffMs } from '../waits.ts'
import { createPlaces, readLeftBehind } from './attempts.ts'
import { createBatchHandler } from './batch-handler.ts'
import { briefRetry, createKafka } from './client.ts'
import { createSender } from './producer.ts'
import { deadLetterTopic, ensureTopics, eventTopics } from './topics.ts'
import { isUnreadable } from './unreadable.ts'

/** A member without a sign of life for so long is dead to its group. */
const SESSION_MS = 10_000
/** With the answer to a sign of life a member learns that others have come or gone: no event waits longer than this for that. */
const HEARTBEAT_MS = 1_000
/**
 * How long an idle consumer waits for events in one request: a stop waits as long, and so does a partition that is to be tried
 * again.
 */
const FETCH_WAIT_MS = 500
/** Partitions that are worked on at once: an effect waits for the database mostly, of which a process has ten connections. */
const PARTITIONS_AT_ONCE = 4
/** For what is in hand at a stop, an event or a join. What takes longer is delivered again, to another follower. */
const STOP_MAX_MS = 10_000
/**
 * While Kafka is away, following is tried again after ever longer pauses, of 6 s at most. The failure that ends a time when all was
 * well is logged, and every tenth after that; at a start the second is the first, since a broker that has just started fails
 * one while it finds out who looks after the group.
 */
const BACKOFF_ATTEMPTS_MAX = 6
const LOG_EVERY = 10

const interruptions = counter('stream_interruptions_total', 'Times that a follower has lost Kafka and begun anew.', [
  'group',
])

/** Follows topics of Kafka as a consumer of the group, for ever: whatever happens to the brokers, it begins anew. */
export function followKafka(subscription: Subscription, settings: KafkaSettings): Following {
  const stopping = new AbortController()
  const running = followUntil(stopping.signal, subscription, settings)
  return {
    async stop() {
      stopping.abort()
      await running
    },
  }
}

async function followUntil(signal: AbortSignal, subscription: Subscription, settings: KafkaSettings): Promise<void> {
  const { topics, group } = subscription
  const graves = createSender(settings, deadLetterTopics(subscription, settings))
  const bury = async (topic: string, letter: Message) => {
    const dead = deadLetterTopic(settings, topic, group)
    await graves.send([{ topic: dead.topic, messages: [letter] }])
  }
  let failures = 0
  let isWell = false
  let told = ''
  const onWell = () => {
    if (failures > 0) logger().info({ group, topics }, 'following goes on')
    failures = 0
    isWell = true
  }
  while (!signal.aborted) {
    try {
      await consume(signal, subscription, settings, bury, onWell)
    } catch (error) {
      interruptions.inc({ group })
      failures++
      // Whether the group could be joined before that says nothing: soon would be too soon for the next attempt.
      if (isUnreadable(error)) failures = Math.max(failures, BACKOFF_ATTEMPTS_MAX)
      const reason = (error as Error).message
      const isNews = isUnreadable(error) ? reason !== told : isWell
      if (isNews || failures % LOG_EVERY === 2) {
        logger()[isUnreadable(error) ? 'error' : 'warn'](
          { group, topics, failures, reason },
          'following is interrupted',
        )
        told = reason
      }
      isWell = false
      await pause(backoffMs(Math.min(failures, BACKOFF_ATTEMPTS_MAX)), signal)
    }
  }
  await graves.close()
}

/** Until it is to stop, or the consumer has come to its end, which throws. */
async function consume(
  signal: AbortSignal,
  subscription: Subscription,
  settings: KafkaSettings,
  bury: (topic: string, letter: Message) => Promise<void>,
  onWell: () => void,
): Promise<void> {
  const topics = subscription.topics.map((topic) => `${settings.prefix}${topic}`)
  const groupId = `${settings.prefix}${subscription.group}`
  const nameOf = (topic: string) => topic.slice(settings.prefix.length)
  const kafka = await createKafka(settings)
  await ensureTopics(kafka, [...eventTopics(settings), ...deadLetterTopics(subscription, settings)])
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: SESSION_MS,
    heartbeatInterval: HEARTBEAT_MS,
    maxWaitTimeInMs: FETCH_WAIT_MS,
    allowAutoTopicCreation: false,
    // The driver begins anew after some errors only, and not with all that it knows about.
    retry: { ...briefRetry, restartOnFailure: async () => false },
  })
  const places = createPlaces(() => readLeftBehind(kafka, groupId, topics))
  consumer.on(consumer.events.GROUP_JOIN, places.forget)
  // Not with the join: what it can't do after that, it would try again and again without a word.
  consumer.on(consumer.events.HEARTBEAT, onWell)
  const join = async () => {
    await consumer.connect()
    await consumer.subscribe({ topics, fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
      eachBatch: createBatchHandler(signal, subscription, places, nameOf, bury),
    })
  }
  await untilEnd(signal, consumer, join)
}

const deadLetterTopics = ({ topics, group }: Subscription, settings: KafkaSettings) =>
  topics.map((topic) => deadLetterTopic(settings, topic, group))

/** Joins, and leaves when it is to stop. Throws where the driver gives up. */
async function untilEnd(signal: AbortSignal, consumer: Consumer, join: () => Promise<void>): Promise<void> {
  let stop = () => {}
  const ended = new Promise<void>((resolve, reject) => {
    stop = resolve
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
  })
  signal.addEventListener('abort', stop)
  if (signal.aborted) stop()
  const joining = join()
  try {
    // Who joins waits for what others have in hand, up to 60 s. A stop does not wait that long.
    await Promise.race([joining, ended])
    await ended
  } finally {
    signal.removeEventListener('abort', stop)
    // Where this fails the group takes it for dead in time.
    await withTimeout(STOP_MAX_MS, leave(consumer, joining)).catch((error) =>
      logger().debug({ err: error }, 'left a group late'),
    )
  }
}

/** The driver closes a connection behind the answers that are due on it, and goes on with a join that is under way by another. */
async function leave(consumer: Consumer, joining: Promise<void>): Promise<void> {
  await consumer.disconnect()
  await joining.catch(() => {})
  await consumer.disconnect()
}
