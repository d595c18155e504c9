import type * as z from 'zod'
import { eventTypes } from '#events'
import type { FunctionDefinition } from '#function'
import { toSchema } from '#openapi'
import { ProductDeleted, ProductEvent } from '#products/schema'
import { StockAlert, StockEvent } from '#stock/events'
import { DeadLetterHeaders } from '../../shared/events/kafka/dead-letter.ts'
import { EventHeaders } from '../../shared/events/kafka/message.ts'
import { deadLetterTopic, eventTopics } from '../../shared/events/kafka/topics.ts'
import { parseKafkaUrl } from '../../shared/events/settings.ts'
import { exampleHeaders, examples } from './asyncapi-examples.ts'
import { jobQueues } from './asyncapi-jobs.ts'

type Json = Record<string, unknown>
type EventType = keyof typeof eventTypes

/** The schema of each type of event. */
export const payloads: Record<EventType, z.ZodType> = {
  'product.created': ProductEvent,
  'product.updated': ProductEvent,
  'product.deleted': ProductDeleted,
  'stock.adjusted': StockEvent,
  'stock.reserved': StockEvent,
  'stock.released': StockEvent,
  'stock.expired': StockEvent,
  'stock.confirmed': StockEvent,
  'stock.counted': StockEvent,
  'stock.low': StockAlert,
  'stock.out': StockAlert,
  'stock.back': StockAlert,
}

const types = Object.keys(eventTypes) as EventType[]
const reference = (kind: string, name: string) => ({ $ref: `#/components/${kind}/${name}` })
const settings = parseKafkaUrl('kafka://localhost:9092')

/** Makes the AsyncAPI document of topics, queues, and the senders and receivers of messages, from the code's own schemas and settings. */
export function asyncApiOf(definitions: readonly FunctionDefinition[], version: string): Json {
  const schemas: Json = {}
  const followers = definitions.flatMap(({ name, summary, trigger }) =>
    trigger.kind === 'stream' ? trigger.topics.map((topic) => ({ name, summary, topic, ...trigger })) : [],
  )
  const messages = {
    ...Object.fromEntries(types.map((type) => [type, messageOf(type, schemas)])),
    dead: deadLetterMessage(schemas),
  }
  const jobs = jobQueues(definitions, schemas)
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'stock-management-service',
      version,
      description:
        'Events, as CloudEvents 1.0 in the binary mode of Kafka, keyed by product: the events of one product keep their ' +
        'order. Jobs, as messages in RabbitMQ that name one. Each message is delivered at least once.',
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers,
    channels: { ...topicChannels(), ...deadLetterChannels(followers), ...jobs.channels },
    operations: { ...sending(), ...Object.assign({}, ...followers.map(following)), ...jobs.operations },
    components: { messages: { ...messages, ...jobs.messages }, schemas },
  }
}

/** On their usual ports. EVENTS_URL and JOBS_URL contain the actual addresses. */
const servers = {
  kafka: { host: 'localhost:9092', protocol: 'kafka', description: 'The log of events, named by EVENTS_URL.' },
  rabbitmq: { host: 'localhost:5672', protocol: 'amqp', description: 'The queue of jobs, named by JOBS_URL.' },
}

interface Follower {
  name: string
  summary: string
  topic: string
  group: string
  types?: readonly string[] | undefined
}

function topicChannels(): Json {
  return Object.fromEntries(
    [...new Set(Object.values(eventTypes))].map((topic) => {
      const ofTopic = types.filter((type) => eventTypes[type] === topic)
      return [topic, channelOf(topic, 'Kept for 7 days.', ofTopic)]
    }),
  )
}

function deadLetterChannels(followers: readonly Follower[]): Json {
  return Object.fromEntries(
    followers.map(({ topic, group }) => {
      const description = `Messages of ${topic} that ${group} could not handle, with the reason. Kept without a limit.`
      return [
        `${topic}.${group}.dead`,
        channelOf(`${topic}.${group}.dead`, description, ['dead'], deadTopic(topic, group)),
      ]
    }),
  )
}

const topics = () => (settings ? eventTopics(settings) : [])
const deadTopic = (topic: string, group: string) => settings && deadLetterTopic(settings, topic, group)

function channelOf(
  address: string,
  description: string,
  messages: readonly string[],
  config = topics().find(({ topic }) => topic === address),
): Json {
  const configuration = Object.fromEntries(
    (config?.configEntries ?? []).map(({ name, value }) => [name, /^-?\d+$/.test(value) ? Number(value) : value]),
  )
  return {
    address,
    description,
    servers: [{ $ref: '#/servers/kafka' }],
    messages: Object.fromEntries(messages.map((name) => [name, reference('messages', name)])),
    bindings: {
      kafka: { partitions: config?.numPartitions, topicConfiguration: configuration, bindingVersion: '0.5.0' },
    },
  }
}

function messageOf(type: EventType, schemas: Json): Json {
  const topic = eventTypes[type]
  return {
    name: type,
    title: type,
    contentType: 'application/json',
    headers: headersOf(type, schemas),
    payload: toSchema(payloads[type], 'output', schemas),
    bindings: { kafka: { key: { type: 'string', format: 'uuid' }, bindingVersion: '0.5.0' } },
    examples: [{ headers: exampleHeaders(type, topic), payload: examples[type] }],
  }
}

/** A named schema, so that a generator's model gets that name. */
function headersOf(type: EventType, schemas: Json): Json {
  const { properties, required, ...rest } = toSchema(EventHeaders, 'input', schemas)
  const written = {
    ...(properties as Json),
    ce_type: { const: type },
    ce_source: { const: `/topics/${eventTypes[type]}` },
    // Headers in Kafka are text.
    ce_version: { type: 'string', pattern: '^[0-9]+$', description: 'Counts the events of the product; +1 each time.' },
  }
  const name = `${type.replaceAll(/(?:^|\.)(\w)/g, (_, first: string) => first.toUpperCase())}Headers`
  schemas[name] = { ...rest, properties: written, required: [...(required as string[]), 'ce_source', 'traceparent'] }
  return reference('schemas', name)
}

function deadLetterMessage(schemas: Json): Json {
  return {
    name: 'dead',
    summary: 'The message as it was, with more headers.',
    headers: toSchema(DeadLetterHeaders, 'input', schemas),
    payload: {},
  }
}

function sending(): Json {
  return Object.fromEntries(
    [...new Set(Object.values(eventTypes))].map((topic) => [
      `publish-${topic}`,
      {
        action: 'send',
        channel: { $ref: `#/channels/${topic}` },
        summary: 'Publish the events in the outbox, in order.',
      },
    ]),
  )
}

function following({ name, summary, topic, group, types: wanted = types }: Follower): Json {
  const dead = `${topic}.${group}.dead`
  const ofTopic = types.filter((type) => eventTypes[type] === topic && wanted.includes(type))
  return {
    [`${name}.${topic}`]: {
      action: 'receive',
      channel: { $ref: `#/channels/${topic}` },
      summary,
      messages: ofTopic.map((type) => ({ $ref: `#/channels/${topic}/messages/${type}` })),
      bindings: { kafka: { groupId: { const: group }, bindingVersion: '0.5.0' } },
    },
    [`${name}.${topic}.dead`]: { action: 'send', channel: { $ref: `#/channels/${dead}` } },
  }
}
