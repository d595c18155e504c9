import type { Consumer, Message } from 'kafkajs'
import { pause, withTimeout } from '#async'
import { counter, logger } from '#telemetry'
import type { Following, Subscription } from '../delivery/subscription.ts'
import { backoffMs, STOP_MAX_MS } from '../delivery/waits.ts'
import type { KafkaSettings } from '../settings.ts'
import { createBatchHandler } from './batch-handler.ts'
import { briefRetry, createKafka } from './client.ts'
import { createPartitionStates, readCommitted } from './partition-state.ts'
import { createSender } from './producer.ts'
import { deadLetterTopic, ensureTopics, eventTopics } from './topics.ts'
import { isUnreadable } from './unreadable.ts'

/** A member without a heartbeat for this long is dead to its group. */
const SESSION_MS = 10_000
/** A member learns of a rebalance from the answer to a heartbeat: no event waits for a rebalance longer than this. */
const HEARTBEAT_MS = 1_000
/** How long an idle consumer waits for events in one request. A stop, and a partition that is to be tried again, wait as long. */
const FETCH_WAIT_MS = 500
/** Partitions that are worked on at once. An effect mostly waits for the database, to which a process has ten connections. */
const PARTITIONS_AT_ONCE = 4
/**
 * While Kafka is away, the consumer retries with pauses that grow to 6 s. It logs the first failure after a success, and then every tenth. At a
 * start it logs the second failure first: a broker that has just started fails one attempt while it finds the group's coordinator.
 */
const BACKOFF_ATTEMPTS_MAX = 6
const LOG_EVERY = 10

const interruptions = counter('stream_interruptions_total', 'Times that a consumer lost Kafka and started again.', [
  'group',
])

/** Follows topics of Kafka as a consumer of the group. Whatever happens to the brokers, it starts again until it is stopped. */
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
  const deadLetterProducer = createSender(settings, deadLetterTopics(subscription, settings))
  const sendDeadLetter = async (topic: string, letter: Message) => {
    const dead = deadLetterTopic(settings, topic, group)
    await deadLetterProducer.send([{ topic: dead.topic, messages: [letter] }])
  }
  let failures = 0
  let isWell = false
  let loggedReason = ''
  const onWell = () => {
    if (failures > 0) logger().info({ group, topics }, 'consumer recovered')
    failures = 0
    isWell = true
  }
  while (!signal.aborted) {
    try {
      await consume(signal, subscription, settings, sendDeadLetter, onWell)
    } catch (error) {
      interruptions.inc({ group })
      failures++
      // The same batch will fail again, even if the join succeeded: use the longest pause.
      if (isUnreadable(error)) failures = Math.max(failures, BACKOFF_ATTEMPTS_MAX)
      const reason = (error as Error).message
      const isNews = isUnreadable(error) ? reason !== loggedReason : isWell
      if (isNews || failures % LOG_EVERY === 2) {
        logger()[isUnreadable(error) ? 'error' : 'warn'](
          { group, topics, failures, reason },
          'consumer interrupted; it will try again',
        )
        loggedReason = reason
      }
      isWell = false
      await pause(backoffMs(Math.min(failures, BACKOFF_ATTEMPTS_MAX)), signal)
    }
  }
  await deadLetterProducer.close()
}

/** Consumes until it is stopped. Throws if the driver gives up. */
async function consume(
  signal: AbortSignal,
  subscription: Subscription,
  settings: KafkaSettings,
  sendDeadLetter: (topic: string, letter: Message) => Promise<void>,
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
    // The driver restarts after some errors only, and then keeps stale metadata.
    retry: { ...briefRetry, restartOnFailure: async () => false },
  })
  const partitions = createPartitionStates(subscription, nameOf, () => readCommitted(kafka, groupId, topics))
  consumer.on(consumer.events.GROUP_JOIN, partitions.forget)
  // Not at the join: a consumer that joins and then fails would never count as failing.
  consumer.on(consumer.events.HEARTBEAT, onWell)
  const seek = (topic: string, partition: number, offset: string) => consumer.seek({ topic, partition, offset })
  const join = async () => {
    await consumer.connect()
    await consumer.subscribe({ topics, fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
      eachBatch: createBatchHandler({ signal, subscription, partitions, nameOf, sendDeadLetter, seek }),
    })
  }
  // `forget` also cancels the wake-ups.
  await untilEnd(signal, consumer, join).finally(partitions.forget)
}

const deadLetterTopics = ({ topics, group }: Subscription, settings: KafkaSettings) =>
  topics.map((topic) => deadLetterTopic(settings, topic, group))

/** Joins the group, and leaves it when `signal` is aborted. Throws if the driver gives up. */
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
    // A join waits up to 60 s for the deliveries of the other members. A stop does not wait that long.
    await Promise.race([joining, ended])
    await ended
  } finally {
    signal.removeEventListener('abort', stop)
    // If this fails, the group's session time-out removes this member.
    await withTimeout(STOP_MAX_MS, leave(consumer, joining)).catch((error) =>
      logger().debug({ err: error }, 'could not leave the consumer group in time'),
    )
  }
}

/** Disconnects twice: the first disconnect ends the connections, and a join under way may open another one. */
async function leave(consumer: Consumer, joining: Promise<void>): Promise<void> {
  await consumer.disconnect()
  await joining.catch(() => {})
  await consumer.disconnect()
}
