import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, ConfigResourceTypes, ITopicConfig, Kafka } from 'kafkajs'
import { ServiceError } from '#errors'
import { logger } from '#telemetry'
import type { KafkaSettings } from '../settings.ts'
import { eventTypes } from '../types.ts'

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

/** What may compress a topic for good: the driver sends nothing compressed, and reads gzip alone. */
const COMPRESSION = 'compression.type'
const READABLE = ['producer', 'uncompressed', 'gzip']

/** With as many replicas as the broker gives a topic by default. */
function topicConfig(topic: string, numPartitions: number, life: Record<string, number>): ITopicConfig {
  const configEntries = Object.entries({ [COMPRESSION]: 'producer', ...life }).map(([name, value]) => ({
    name,
    value: String(value),
  }))
  return { topic, numPartitions, replicationFactor: -1, configEntries }
}

/**
 * Makes the topics that are not there, and waits until they can be used. Throws where that is refused, or where what is sent to
 * one that is there could not be read again.
 */
export async function ensureTopics(kafka: Kafka, wanted: readonly ITopicConfig[]): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    const present = new Set(await admin.listTopics())
    const missing = wanted.filter(({ topic }) => !present.has(topic))
    if (missing.length > 0) await makeTopics(admin, missing)
    await checkCompression(
      admin,
      wanted.flatMap(({ topic }) => (present.has(topic) ? [topic] : [])),
    )
  } finally {
    // Whatever is wrong with it, this connection is done with.
    await admin.disconnect().catch(() => {})
  }
}

/** The number that Kafka has for topics among what can be configured. The driver's own constant would have to be loaded for it. */
const TOPIC = 2 as ConfigResourceTypes.TOPIC

/** A setting of the broker's counts where the topic has none of its own. */
async function checkCompression(admin: Admin, topics: string[]): Promise<void> {
  const unfit = (await compressionOf(admin, topics)).flatMap(({ topic, codec }) =>
    codec == null || READABLE.includes(codec) ? [] : [`${topic} has ${COMPRESSION}=${codec}`],
  )
  if (unfit.length === 0) return
  const plight = `Kafka's topic ${unfit.join(', ')}, which can't be read here`
  throw new ServiceError('unavailable', `${plight}: set ${COMPRESSION}=producer on it.`)
}

/** How the driver and the broker say that this is not to be found out. */
const UNTOLD = /AUTHORIZATION_FAILED|UNSUPPORTED_VERSION|KafkaJSServerDoesNotSupportApiKey/
let hasWarned = false

/** What compresses each topic; nothing, with a warning, where that can't be found out: what can be read is read without that right. */
async function compressionOf(admin: Admin, topics: string[]): Promise<Array<{ topic: string; codec?: string | null }>> {
  if (topics.length === 0) return []
  const resources = topics.map((name) => ({ type: TOPIC, name, configNames: [COMPRESSION] }))
  try {
    const described = await admin.describeConfigs({ includeSynonyms: false, resources })
    return described.resources.flatMap(({ resourceName, configEntries }) =>
      configEntries.map(({ configValue }) => ({ topic: resourceName, codec: configValue })),
    )
  } catch (error) {
    const { name, type } = error as Error & { type?: string }
    if (!UNTOLD.test(`${name} ${type}`)) throw error
    if (!hasWarned) {
      logger().warn(
        { err: error },
        `the topics' ${COMPRESSION} is not known without the right DESCRIBE_CONFIGS: with zstd, lz4 or snappy they can't be read here`,
      )
    }
    hasWarned = true
    return []
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
