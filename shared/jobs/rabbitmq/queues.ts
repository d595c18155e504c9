import type { Channel, Options } from 'amqplib'
import { jobTypes } from '../schema.ts'

export interface Queue {
  queue: string
  options: Options.AssertQueue
  /** A fanout exchange that leads to it alone. Where there is none, it is reached by its name. */
  exchange?: string
}

/** What a message is published with; the default exchange, '', takes it to the queue that the routing key names. */
export interface Address {
  exchange: string
  routingKey: string
}

/**
 * The queues of one name: one for the jobs of each type, so that none holds up another, and one for each delay, which all types
 * share. Their arguments are for ever: a queue that is declared with others is refused by the broker, so a change here needs another
 * JOBS_QUEUE. Quorum queues keep what they have confirmed on the disks of most nodes of a cluster.
 */
export function queuesOf(name: string) {
  const dead = `${name}.dead`
  const work = (type: string) => `${name}.${type}`
  const retry = (ms: number) => `${name}.retry.${ms}`
  const ofType = (type: string): Queue => ({
    queue: work(type),
    options: quorum({ ...WORK, ...PASSING_ON, 'x-dead-letter-routing-key': dead }),
  })
  return {
    dead,
    work,
    ofType,
    /** Of a job that is to be worked on in `delayMs`: it waits in the first queue that holds it for as long, or else in the last. */
    address(type: string, delayMs: number): Address {
      if (delayMs <= 0) return { exchange: '', routingKey: work(type) }
      return { exchange: retry(DELAYS_MS.find((ms) => ms >= delayMs) ?? LONGEST_MS), routingKey: work(type) }
    },
    all: (): Queue[] => [
      { queue: dead, options: quorum(DEAD) },
      ...Object.keys(jobTypes).map(ofType),
      // What has waited goes on with the routing key that it came with: hence the exchange, which takes any.
      ...DELAYS_MS.map((ms) => ({
        queue: retry(ms),
        options: quorum({ ...PASSING_ON, 'x-message-ttl': ms }),
        exchange: retry(ms),
      })),
    ],
  }
}

const LONGEST_MS = 600_000

/**
 * Messages leave a queue at its head only, so those of one queue must all wait for as long: a queue for each of these. A retry waits
 * up to 2, 4, 8 … seconds, 600 at most, and then up to the next of these.
 */
const DELAYS_MS = [1, 2, 4, 8, 16, 30, 60, 120, 240, 360, 480].map((seconds) => seconds * 1_000).concat(LONGEST_MS)

/** More jobs than this wait in the database, until the broker takes messages again. */
const LENGTH_MAX = 1_000_000

/** A message that kills its worker comes again, up to this. A job has its own bound of attempts, which is lower. */
const WORK = { 'x-delivery-limit': 20 }

/** The oldest go first: of what belongs to a job, the database has a dead letter. */
const DEAD = { 'x-max-length': 10_000, 'x-max-length-bytes': 64 * 1024 * 1024, 'x-overflow': 'drop-head' }

/** Dead messages go to another queue, and are kept until they are safe there: which asks for a queue that refuses rather than drops. */
const PASSING_ON = {
  'x-dead-letter-exchange': '',
  'x-dead-letter-strategy': 'at-least-once',
  'x-overflow': 'reject-publish',
  'x-max-length': LENGTH_MAX,
}

function quorum(queueArguments: Record<string, unknown>): Options.AssertQueue {
  return { durable: true, arguments: { 'x-queue-type': 'quorum', ...queueArguments } }
}

/** Makes sure that the queue is there. Throws where one is there with other arguments. */
export async function declareQueue(channel: Channel, { queue, options, exchange }: Queue): Promise<void> {
  await channel.assertQueue(queue, options)
  if (exchange === undefined) return
  await channel.assertExchange(exchange, 'fanout', { durable: true })
  await channel.bindQueue(queue, exchange, '')
}
