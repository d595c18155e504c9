import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, ConfigResourceTypes, ITopicConfig, Kafka } from 'kafkajs'
import { ServiceError } from '#errors'
import { logger } from '#telemetry'
import { eventTypes } from '../event-types.ts'
import type { KafkaSettings } from '../settings.ts'

const DAY_MS = 24 * 60 * 60 * 1_000

/** As long as the embedded log keeps an event. A segment is deleted as a whole, so its oldest event lives a day longer. */
const eventLife = { 'retention.ms': 7 * DAY_MS, 'segment.ms': DAY_MS }
/** Dead letters are kept until an operator deals with them. They are larger than events by the headers of a dead letter. */
const deadLetterLife = { 'retention.ms': -1, 'max.message.bytes': 2 * 1024 * 1024 }

/** All brokers know a new topic after some milliseconds. A request before that fails, and is tried again. */
const POLLS_MAX = 20
const POLL_MS = 100

export function eventTopics({ prefix, partitions }: KafkaSettings): ITopicConfig[] {
  return [...new Set(Object.values(eventTypes))].map((topic) => topicConfig(`${prefix}${topic}`, partitions, eventLife))
}

export function deadLetterTopic({ prefix }: KafkaSettings, topic: string, group: string): ITopicConfig {
  return topicConfig(`${prefix}${topic}.${group}.dead`, 1, deadLetterLife)
}

/** The compression types of topics that can be read: the driver sends nothing compressed, and reads only gzip. */
const COMPRESSION = 'compression.type'
const READABLE = ['producer', 'uncompressed', 'gzip']

/** The replication factor is the broker's default. */
function topicConfig(topic: string, numPartitions: number, life: Record<string, number>): ITopicConfig {
  const configEntries = Object.entries({ [COMPRESSION]: 'producer', ...life }).map(([name, value]) => ({
    name,
    value: String(value),
  }))
  return { topic, numPartitions, replicationFactor: -1, configEntries }
}

/**
 * Creates missing topics, and waits until they can be used. Throws `unavailable` if the broker refuses that, or if messages with an existing
 * topic's compression could not be read again. `isUsed: false` skips this check, for a caller that neither sends nor reads events.
 */
export async function ensureTopics(
  kafka: Kafka,
  wanted: readonly ITopicConfig[],
  { isUsed = true } = {},
): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    const present = new Set(await admin.listTopics())
    const missing = wanted.filter(({ topic }) => !present.has(topic))
    if (missing.length > 0) await createTopics(admin, missing)
    const older = wanted.flatMap(({ topic }) => (present.has(topic) ? [topic] : []))
    if (isUsed) await checkCompression(admin, older)
  } finally {
    // The connection is not used again, so a failure to close it does no harm.
    await admin.disconnect().catch(() => {})
  }
}

/** Kafka's number of the resource type. The driver's constant would load the driver. */
const TOPIC = 2 as ConfigResourceTypes.TOPIC

/** A topic without its own setting has the broker's. */
async function checkCompression(admin: Admin, topics: string[]): Promise<void> {
  const unfit = (await compressionOf(admin, topics)).flatMap(({ topic, codec }) =>
    codec == null || READABLE.includes(codec) ? [] : [`${topic} has ${COMPRESSION}=${codec}`],
  )
  if (unfit.length === 0) return
  const problem = `Kafka's topic ${unfit.join(', ')}, which can't be read here`
  throw new ServiceError('unavailable', `${problem}: set ${COMPRESSION}=producer on it.`)
}

/** The errors of a broker that does not let this client read configurations. */
const NOT_READABLE = /AUTHORIZATION_FAILED|UNSUPPORTED_VERSION|KafkaJSServerDoesNotSupportApiKey/
let hasWarned = false

/** The compression of each topic. Empty, with a warning, if this client may not read it: consumers need that right for nothing else. */
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
    if (!NOT_READABLE.test(`${name} ${type}`)) throw error
    if (!hasWarned) {
      logger().warn(
        { err: error },
        `the topics' ${COMPRESSION} is unknown without the right DESCRIBE_CONFIGS: with zstd, lz4 or snappy they can't be read here`,
      )
    }
    hasWarned = true
    return []
  }
}

async function createTopics(admin: Admin, topics: ITopicConfig[]): Promise<void> {
  const names = topics.map(({ topic }) => topic)
  // Resolves with false if another process was first. The driver does not wait for brokers that do not know the topic yet.
  await admin.createTopics({ topics, waitForLeaders: false }).catch((error: Error & { errors?: Error[] }) => {
    const reason = error.errors?.[0]?.message ?? error.message
    throw new ServiceError('unavailable', `Kafka has not created the topics ${names.join(', ')}: ${reason}`, {
      cause: error,
    })
  })
  for (let poll = 0; poll < POLLS_MAX; poll++) {
    if (await haveLeaders(admin, names)) return
    await sleep(POLL_MS)
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
