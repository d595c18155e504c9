import type { Outcome } from '#errors'
import type { Claim } from './attempts/claim.ts'
import { createInFlightJobs } from './attempts/in-flight.ts'
import { poll } from './postgres/poller.ts'
import { consume } from './rabbitmq/consumer.ts'
import { brokerSettings } from './settings.ts'
import type { Worker } from './worker.ts'

export interface WorkOptions {
  queue: string
  /** Must not throw. */
  deliver: (claim: Claim) => Promise<Outcome>
}

/** The only queue: a second one would need a column. */
const QUEUE = 'jobs'

/**
 * Works on the queue: takes due jobs, up to each type's concurrency, delivers each, and records its outcome. Jobs come from the broker of JOBS_URL,
 * or from the table. Throws a ConfigError.
 *
 * @example
 * const worker = work({ queue: 'jobs', deliver: async ({ jobId }) => ({ verdict: 'acknowledge' }) })
 * onShutdown(worker.stop)
 */
export function work({ queue, deliver }: WorkOptions): Worker {
  const broker = brokerSettings()
  if (queue !== QUEUE) throw new Error(`there is no queue '${queue}', only '${QUEUE}'`)
  const jobs = createInFlightJobs(deliver)
  return broker ? consume(broker, jobs) : poll(jobs)
}
