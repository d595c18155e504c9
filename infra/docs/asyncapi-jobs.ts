import type { FunctionDefinition } from '#function'
import { jobTypes } from '#jobs/types'
import { toSchema } from '#openapi'
import { JobMessage } from '../../shared/jobs/rabbitmq/deliveries.ts'
import { type Queue, queuesOf } from '../../shared/jobs/rabbitmq/queues.ts'

type Json = Record<string, unknown>

const QUEUE = 'jobs'
const queues = queuesOf(QUEUE)
const types = Object.keys(jobTypes).sort()
const works = types.map(queues.work)
const bindingVersion = '0.3.0'

/** Describes the queues in RabbitMQ, and their senders and receivers, as parts of an AsyncAPI document. */
export function jobQueues(definitions: readonly FunctionDefinition[], schemas: Json) {
  return {
    channels: Object.fromEntries(queues.all().map((queue) => [queue.queue, channelOf(queue)])),
    operations: operationsOf(definitions),
    messages: {
      job: jobMessage(schemas),
      'dead-job': {
        name: 'dead-job',
        summary: 'The message as it was; with the reason, if it names no job.',
        headers: { type: 'object', properties: { reason: { type: 'string' } } },
        payload: {},
      },
    },
  }
}

function channelOf({ queue, options, exchange }: Queue): Json {
  const message = queue === queues.dead ? 'dead-job' : 'job'
  const durable = { durable: true, autoDelete: false }
  return {
    ...(exchange ? { address: '{queue}', parameters: { queue: { enum: works } } } : { address: queue }),
    description: descriptionOf(queue, options.arguments),
    servers: [{ $ref: '#/servers/rabbitmq' }],
    messages: { [message]: { $ref: `#/components/messages/${message}` } },
    bindings: {
      amqp: {
        ...(exchange
          ? { is: 'routingKey', exchange: { name: exchange, type: 'fanout', ...durable }, 'x-queue': { name: queue } }
          : { is: 'queue', queue: { name: queue, ...durable, exclusive: false } }),
        'x-arguments': options.arguments,
        bindingVersion,
      },
    },
  }
}

function descriptionOf(queue: string, { 'x-message-ttl': ttl }: Json): string {
  if (ttl !== undefined) {
    return `Jobs that are due within ${Number(ttl) / 1_000} s. Then their messages go to the queue of their type, which is their routing key.`
  }
  return queue === queues.dead
    ? 'Messages that name no job, and those that were delivered too often. The oldest go when it is full.'
    : 'Jobs of one type that are due. A message names a job; the database has all the rest.'
}

function jobMessage(schemas: Json): Json {
  return {
    name: 'job',
    contentType: 'application/json',
    headers: {
      type: 'object',
      properties: {
        traceparent: { type: 'string', description: 'W3C Trace Context of the request that led to the job.' },
        tracestate: { type: 'string' },
        baggage: { type: 'string', description: 'W3C Baggage: entries of the request with the keys of BAGGAGE_KEYS.' },
      },
      required: ['traceparent'],
    },
    payload: toSchema(JobMessage, 'output', schemas),
    // AMQP has its own property for the type of a message.
    bindings: { amqp: { messageType: types.join(' | '), bindingVersion } },
    examples: [
      {
        headers: { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' },
        payload: { jobId: '019a0c46-5b7f-7c12-8d03-2e6f9a4b1c88' },
      },
    ],
  }
}

function operationsOf(definitions: readonly FunctionDefinition[]): Json {
  const named = (name: string) => definitions.find((definition) => definition.name === name)?.summary
  const channel = (queue: string) => ({ $ref: `#/channels/${queue}` })
  const sending = queues.all().flatMap(({ queue }) => (queue === queues.dead ? [] : [queue]))
  const amqp = { deliveryMode: 2, mandatory: true, bindingVersion }
  const taking = definitions.flatMap(({ name, summary, trigger }) =>
    trigger.kind === 'queue' && trigger.queue === QUEUE ? [{ name, summary }] : [],
  )
  return Object.fromEntries<Json>([
    ...sending.map((queue): [string, Json] => [
      `dispatch-jobs.${queue}`,
      { action: 'send', channel: channel(queue), summary: named('dispatch-jobs'), bindings: { amqp } },
    ]),
    ...taking.flatMap(
      ({ name, summary }): Array<[string, Json]> => [
        ...works.map((queue): [string, Json] => [
          `${name}.${queue}`,
          { action: 'receive', channel: channel(queue), summary, bindings: { amqp: { ack: true, bindingVersion } } },
        ]),
        [`${name}.${queues.dead}`, { action: 'send', channel: channel(queues.dead) }],
      ],
    ),
  ])
}
