import type { Outcome } from '#errors'
import { createHand } from './in-flight.ts'
import { poll } from './postgres/poller.ts'
import type { Claim } from './postgres/queue.ts'
import { consume } from './rabbitmq/consumer.ts'
import { brokerSettings } from './settings.ts'
import type { Worker } from './worker.ts'

export interface WorkOptions {
  queue: string
  /** Must not throw. */
  deliver: (claim: Claim) => Promise<Outcome>
}

/** The one queue there is: a second would need a column. */
const QUEUE = 'jobs'

/**
 * Works the queue: takes jobs that are due, of each type as many at once as it may be, delivers each, and writes down what came of it.
 * JOBS_URL tells who says that a job is due: a broker, or the table. Throws a ConfigError.
 */
export function work({ queue, deliver }: WorkOptions): Worker {
  const broker = brokerSettings()
  if (queue !== QUEUE) throw new Error(`there is no queue '${queue}', only '${QUEUE}'`)
  const hand = createHand(deliver)
  return broker ? consume(broker, hand) : poll(hand)
}
