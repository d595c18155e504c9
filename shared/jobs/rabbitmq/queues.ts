import type { Channel, Options } from 'amqplib'
import { jobTypes } from '../job-types.ts'

export interface Queue {
  queue: string
  options: Options.AssertQueue
  /** A fanout exchange that leads only to this queue. Without an exchange, the queue is reached by its name. */
  exchange?: string
}

/** The place where a message is published. The default exchange, '', routes it to the queue that the routing key names. */
export interface Address {
  exchange: string
  routingKey: string
}

/**
 * The queues of one prefix: one for each type of job, so that no type holds up another, and one for each delay, which all types share. The broker
 * refuses to declare an existing queue with other arguments, so a change here needs another JOBS_QUEUE. A quorum queue has confirmed messages on
 * the disks of most nodes of a cluster.
 */
export function queuesOf(name: string) {
  const dead = `${name}.dead`
  const work = (type: string) => `${name}.${type}`
  const retry = (ms: number) => `${name}.retry.${ms}`
  const ofType = (type: string): Queue => ({
    queue: work(type),
    options: quorum({ ...WORK, ...AT_LEAST_ONCE, 'x-dead-letter-routing-key': dead }),
  })
  return {
    dead,
    work,
    ofType,
    /** The address for a job that is due in `delayMs`: it waits in the queue of the next longer delay, or else of the longest one. */
    address(type: string, delayMs: number): Address {
      if (delayMs <= 0) return { exchange: '', routingKey: work(type) }
      return { exchange: retry(DELAYS_MS.find((ms) => ms >= delayMs) ?? LONGEST_MS), routingKey: work(type) }
    },
    all: (): Queue[] => [
      { queue: dead, options: quorum(DEAD) },
      ...Object.keys(jobTypes).map(ofType),
      // An expired message keeps its routing key, so that it reaches the queue of its type. A fanout exchange accepts any key.
      ...DELAYS_MS.map((ms) => ({
        queue: retry(ms),
        options: quorum({ ...AT_LEAST_ONCE, 'x-message-ttl': ms }),
        exchange: retry(ms),
      })),
    ],
  }
}

const LONGEST_MS = 600_000
const STEP_MS = 30_000

/**
 * A queue for each delay. Messages expire only at the head of a queue, so all messages of a queue need the same delay. A retry waits up to 2, 4, 8
 * … seconds, 600 at most, rounded up to the next of these delays, which is at most half a minute later. A job that has been due for a minute is one
 * that no worker takes, and raises an alert.
 */
const DELAYS_MS = [
  ...[1_000, 2_000, 4_000, 8_000, 16_000],
  ...Array.from({ length: LONGEST_MS / STEP_MS }, (_, step) => (step + 1) * STEP_MS),
]

/** A longer queue refuses messages, and their jobs wait in the database. */
const LENGTH_MAX = 1_000_000

/** Redeliveries of a message whose workers crash. A job has its own limit of attempts, which is lower. */
const WORK = { 'x-delivery-limit': 20 }

/** Drops the oldest messages first: a job has its dead letter in the database. */
const DEAD = { 'x-max-length': 10_000, 'x-max-length-bytes': 64 * 1024 * 1024, 'x-overflow': 'drop-head' }

/**
 * A message that expires or dies is removed once it is safe in its next queue: at-least-once needs a queue that refuses messages instead of
 * dropping them.
 */
const AT_LEAST_ONCE = {
  'x-dead-letter-exchange': '',
  'x-dead-letter-strategy': 'at-least-once',
  'x-overflow': 'reject-publish',
  'x-max-length': LENGTH_MAX,
}

function quorum(queueArguments: Record<string, unknown>): Options.AssertQueue {
  return { durable: true, arguments: { 'x-queue-type': 'quorum', ...queueArguments } }
}

/** Throws if the queue exists with other arguments. */
export async function declareQueue(channel: Channel, { queue, options, exchange }: Queue): Promise<void> {
  await channel.assertQueue(queue, options)
  if (exchange === undefined) return
  await channel.assertExchange(exchange, 'fanout', { durable: true })
  await channel.bindQueue(queue, exchange, '')
}
