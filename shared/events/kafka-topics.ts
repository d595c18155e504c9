import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, ITopicConfig, Kafka } from 'kafkajs'
import { ServiceError } from '#errors'
import type { KafkaSettings } from './settings.ts'
import { eventTypes } from './types.ts'

const DAY_MS = 24 * 60 * 60 * 1_000

/** As long as the embedded log keeps an event. What a segment holds is deleted as a whole, so the last of it lives a day longer. */
const eventLife = { 'retention.ms': 7 * DAY_MS, 'segment.ms': DAY_MS }
/** Somebody has to look at these. They are larger than events by what is said of their death. */
const deadLife = { 'retention.ms': -1, 'max.message.bytes': 2 * 1024 * 1024 }

/** A topic that was made is known to all brokers some milliseconds later; whoever uses it sooner fails, and comes again. */
const LOOKS_MAX = 20
const LOOK_MS = 100

export function eventTopics({ prefix, partitions }: KafkaSettings): ITopicConfig[] {
  return [...new Set(Object.values(eventTypes))].map((topic) => topicConfig(`${prefix}${topic}`, partitions, eventLife))
}

export function deadLetterTopic({ prefix }: KafkaSettings, topic: string, group: string): ITopicConfig {
  return topicConfig(`${prefix}${topic}.${group}.dead`, 1, deadLife)
}

/** With as many replicas as the broker gives a topic by default. */
function topicConfig(topic: string, numPartitions: number, life: Record<string, number>): ITopicConfig {
  const configEntries = Object.entries(life).map(([name, value]) => ({ name, value: String(value) }))
  return { topic, numPartitions, replicationFactor: -1, configEntries }
}

/** Makes the topics that are not there, and waits until they can be used. Throws where that is refused. */
export async function ensureTopics(kafka: Kafka, wanted: readonly ITopicConfig[]): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    const present = new Set(await admin.listTopics())
    const missing = wanted.filter(({ topic }) => !present.has(topic))
    if (missing.length > 0) await makeTopics(admin, missing)
  } finally {
    // Whatever is wrong with it, this connection is done with.
    await admin.disconnect().catch(() => {})
  }
}

async function makeTopics(admin: Admin, topics: ITopicConfig[]): Promise<void> {
  const names = topics.map(({ topic }) => topic)
  // False where another process was quicker. The driver does not wait for brokers that have not heard of the topic yet.
  await admin.createTopics({ topics, waitForLeaders: false }).catch((error: Error & { errors?: Error[] }) => {
    const reason = error.errors?.[0]?.message ?? error.message
    throw new ServiceError('unavailable', `Kafka has not made the topics ${names.join(', ')}: ${reason}`, {
      cause: error,
    })
  })
  for (let look = 0; look < LOOKS_MAX; look++) {
    if (await haveLeaders(admin, names)) return
    await sleep(LOOK_MS)
  }
}

async function haveLeaders(admin: Admin, names: string[]): Promise<boolean> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: names })
    return topics.every(({ partitions }) => partitions.every(({ leader }) => leader >= 0))
  } catch (error) {
    if ((error as { retriable?: boolean }).retriable !== true) throw error
    return false
  }
}
