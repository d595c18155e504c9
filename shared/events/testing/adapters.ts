import { randomUUID } from 'node:crypto'
import { overrideEnvironment } from '#config'
import { sql } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { toEvent } from '../kafka/message.ts'
import { closeRelay } from '../outbox/relay.ts'
import { readTopic, tuneConsumers, withAdmin } from './kafka.ts'

// A partition is tried again, and a consumer stops, when a request for events has returned. A member learns of other members with a heartbeat.
tuneConsumers({ maxWaitTimeInMs: 50, heartbeatInterval: 100 })

/** An event as a test sees it, from either log. */
export interface Published {
  id: string
  type: string
  productId: string
  version: number
  data: unknown
  traceparent: string
  tracestate: string | null
}

export interface DeadEvent {
  version: number
  error: string
  attempts: number
}

/** The parts of each adapter that the suites for all adapters need. */
export interface Adapter {
  name: string
  isThere: boolean
  /** An empty log, and settings that lead to it. */
  reset: () => Promise<void>
  /** The events in a topic. Their order is defined only for each product. */
  published: (topic: string) => Promise<Published[]>
  deadEvents: (topic: string, group: string) => Promise<DeadEvent[]>
  /** Whether a group has come to a topic's end, and would continue there. */
  isThrough: (topic: string, group: string) => Promise<boolean>
}

const embedded: Adapter = {
  name: 'in the database',
  isThere: true,
  async reset() {
    overrideEnvironment({ EVENTS_URL: undefined })
    await sql`truncate outbox, outbox_blocked, event_log, event_groups, dead_events`
  },
  published: async (topic) => [
    ...(await sql<Published[]>`
      select id, type, product_id as "productId", version, data, traceparent, tracestate from event_log
      where topic = ${topic} order by position`),
  ],
  deadEvents: async (topic, group) => [
    ...(await sql<DeadEvent[]>`
      select version, error, attempts from dead_events where topic = ${topic} and group_name = ${group} order by died_at, id`),
  ],
  async isThrough(topic, group) {
    const [row] = await sql<Array<{ isThrough: boolean }>>`
      select position = (select max(position) from event_log where topic = ${topic}) as "isThrough"
      from event_groups where name = ${group} and topic = ${topic}`
    return row?.isThrough ?? false
  },
}

let url = kafkaUrl ?? ''

const kafka: Adapter = {
  name: inKafka,
  isThere: kafkaUrl !== undefined,
  /** Gives this test its own topics and groups. */
  async reset() {
    url = `${kafkaUrl}${randomUUID().slice(0, 8)}.`
    overrideEnvironment({ EVENTS_URL: url })
    await closeRelay()
    await sql`truncate outbox, outbox_blocked, dead_events`
  },
  published: async (topic) => (await readTopic(url, topic)).map(toEvent),
  deadEvents: async (topic, group) =>
    (await readTopic(url, `${topic}.${group}.dead`)).map(({ headers = {} }) => ({
      version: Number(headers.ce_version),
      error: String(headers.dead_error),
      attempts: Number(headers.dead_attempts),
    })),
  isThrough: (topic, group) =>
    withAdmin(url, async (admin, prefix) => {
      const ends = await admin.fetchTopicOffsets(`${prefix}${topic}`)
      const [committed] = await admin.fetchOffsets({ groupId: `${prefix}${group}`, topics: [`${prefix}${topic}`] })
      const offsets = new Map(committed?.partitions.map(({ partition, offset }) => [partition, offset]))
      return ends.every(({ partition, high }) => high === '0' || offsets.get(partition) === high)
    }),
}

export const adapters = [embedded, kafka]

/** The EVENTS_URL of the test that currently runs in Kafka. */
export const currentKafkaUrl = () => url
