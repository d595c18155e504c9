import type { FunctionDefinition } from '#function'
import { toSchema } from '#function/openapi'
import { jobTypes } from '#jobs/schema'
import { queuesOf } from '../../shared/jobs/broker-queues.ts'
import { JobMessage } from '../../shared/jobs/deliveries.ts'

type Json = Record<string, unknown>

const QUEUE = 'jobs'
const queues = queuesOf(QUEUE)
const bindingVersion = '0.3.0'

/** The queues in RabbitMQ, and who sends and takes their messages, as parts of an AsyncAPI document. */
export function jobQueues(definitions: readonly FunctionDefinition[], schemas: Json) {
  return {
    channels: Object.fromEntries(queues.all().map(({ queue, options }) => [queue, channelOf(queue, options)])),
    operations: operationsOf(definitions),
    messages: {
      job: jobMessage(schemas),
      'dead-job': {
        name: 'dead-job',
        summary: 'The message as it was, whatever that is; with the reason, if it is one that tells of no job.',
        headers: { type: 'object', properties: { reason: { type: 'string' } } },
        payload: {},
      },
    },
  }
}

function channelOf(
  queue: string,
  { arguments: queueArguments }: ReturnType<typeof queues.all>[number]['options'],
): Json {
  const message = queue === queues.dead ? 'dead-job' : 'job'
  return {
    address: queue,
    description: descriptionOf(queue, queueArguments as Json),
    messages: { [message]: { $ref: `#/components/messages/${message}` } },
    bindings: {
      amqp: {
        is: 'queue',
        queue: { name: queue, durable: true, exclusive: false, autoDelete: false },
        'x-arguments': queueArguments,
        bindingVersion,
      },
    },
  }
}

function descriptionOf(queue: string, { 'x-message-ttl': ttl }: Json): string {
  if (queue === queues.work)
    return 'Jobs that are due. A message says which job to look at; the database has all the rest.'
  if (queue === queues.dead)
    return 'Messages that tell of no job, and those that were delivered too often. Kept until somebody looks.'
  return `Jobs that are due in up to ${Number(ttl) / 1_000} s: after that, their messages go to ${queues.work}.`
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
      },
      required: ['traceparent'],
    },
    payload: toSchema(JobMessage, 'output', schemas),
    // AMQP has a property of its own for the type of a message.
    bindings: { amqp: { messageType: Object.keys(jobTypes).sort().join(' | '), bindingVersion } },
  }
}

function operationsOf(definitions: readonly FunctionDefinition[]): Json {
  const delays = queues.all().filter(({ queue }) => queue !== queues.work && queue !== queues.dead)
  const named = (name: string) => definitions.find((definition) => definition.name === name)?.summary
  const taking = definitions.flatMap(({ name, summary, trigger }) =>
    trigger.kind === 'queue' && trigger.queue === QUEUE ? [{ name, summary }] : [],
  )
  return {
    ...Object.fromEntries(
      [queues.work, ...delays.map(({ queue }) => queue)].map((queue) => [
        `dispatch-jobs.${queue}`,
        {
          action: 'send',
          channel: { $ref: `#/channels/${queue}` },
          summary: named('dispatch-jobs'),
          bindings: { amqp: { deliveryMode: 2, mandatory: true, bindingVersion } },
        },
      ]),
    ),
    ...Object.fromEntries(
      taking.flatMap(({ name, summary }) => [
        [
          `${name}.${queues.work}`,
          {
            action: 'receive',
            channel: { $ref: `#/channels/${queues.work}` },
            summary,
            bindings: { amqp: { ack: true, bindingVersion } },
          },
        ],
        [`${name}.${queues.dead}`, { action: 'send', channel: { $ref: `#/channels/${queues.dead}` } }],
      ]),
    ),
  }
}
