import type { Channel, Options } from 'amqplib'

/**
 * The queues of one name. Their arguments are for ever: a queue that is declared with others is refused by the broker, so a change
 * here needs another JOBS_QUEUE. Quorum queues keep what they have confirmed on the disks of most nodes of a cluster.
 */
export function queuesOf(name: string) {
  const delay = (ms: number) => `${name}.delay.${ms}`
  return {
    work: name,
    dead: `${name}.dead`,
    /** The queue for a message that is to be worked on in `delayMs`: the first that holds it for as long, or else the last. */
    for: (delayMs: number) => {
      if (delayMs <= 0) return name
      return delay(DELAYS_MS.find((ms) => ms >= delayMs) ?? LONGEST_MS)
    },
    all: (): Array<{ queue: string; options: Options.AssertQueue }> => [
      { queue: `${name}.dead`, options: quorum(DEAD) },
      { queue: name, options: quorum({ ...WORK, ...passingOnTo(`${name}.dead`) }) },
      ...DELAYS_MS.map((ms) => ({
        queue: delay(ms),
        options: quorum({ ...passingOnTo(name), 'x-message-ttl': ms }),
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

/** Where a queue's dead messages go, kept here until they are safe there: which asks for a queue that refuses rather than drops. */
function passingOnTo(queue: string) {
  return {
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': queue,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
    'x-max-length': LENGTH_MAX,
  }
}

function quorum(queueArguments: Record<string, unknown>): Options.AssertQueue {
  return { durable: true, arguments: { 'x-queue-type': 'quorum', ...queueArguments } }
}

/** Makes sure that the queues are there. Throws where one is there with other arguments. */
export async function declareQueues(channel: Channel, name: string): Promise<void> {
  for (const { queue, options } of queuesOf(name).all()) await channel.assertQueue(queue, options)
}
