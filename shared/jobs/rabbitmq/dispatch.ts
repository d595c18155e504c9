import { randomUUID } from 'node:crypto'
import type * as z from 'zod'
import { onShutdown } from '#async'
import { askPrimary, type RequestContext, type Sql, transaction } from '#database'
import { ServiceError } from '#errors'
import { counter, inSendSpans, logger, traceHeaders } from '#telemetry'
import { type Dispatch, dispatchOverdue, hasDispatches, readDispatches, removeDispatches } from '../dispatches.ts'
import { isJobType, jobTypes } from '../job-types.ts'
import { type BrokerSettings, brokerSettings } from '../settings.ts'
import { type Broker, openBroker, withDeadline } from './broker.ts'
import type { JobMessage } from './deliveries.ts'
import { queuesOf } from './queues.ts'

/** Jobs per transaction: some 50 ms, most of it in the broker. */
const BATCH_MAX = 1_000
/** Batches per run: 20,000 jobs take some seconds, well below a run's time-out. */
const BATCHES_MAX = 20
/** A healthy broker confirms a batch in some 20 ms. This limit is less than a transaction may take. */
const CONFIRM_MAX_MS = 5_000
/** Any fixed number that no other advisory lock of this database uses: "jobs" in ASCII. */
const DISPATCH_LOCK = 0x6a6f6273
/** How often overdue jobs are dispatched again, how long a job must be due for that, and how many jobs per round. */
const OVERDUE_ROUND_MS = 10_000
const OVERDUE_MS = 60_000
const OVERDUE_MAX = 1_000

const dispatched = counter('jobs_dispatched_total', 'Jobs dispatched to the broker.')
const overdue = counter(
  'jobs_dispatched_again_total',
  'Overdue jobs dispatched again, because the broker had no message of their type left.',
)

let opening: Promise<Broker> | undefined
let nextOverdueRoundAt = 0

/**
 * Dispatches waiting jobs to the broker, in batches, and deletes each dispatch once the broker has confirmed it. Only one process works on it at a
 * time. A job may be dispatched twice, which is harmless, because workers claim its row. Returns the number of jobs. Throws `unavailable` if the
 * broker does not take them. Does nothing if the table is the queue.
 */
export async function dispatchJobs(context: RequestContext): Promise<number> {
  const settings = brokerSettings()
  if (!settings) return 0
  let total = 0
  for (let batch = 0; batch < BATCHES_MAX && (await askPrimary(hasDispatches)); batch++) {
    const count = await dispatchBatch(await currentBroker(settings), settings, context)
    total += count
    if (count < BATCH_MAX) break
  }
  if (performance.now() >= nextOverdueRoundAt) {
    nextOverdueRoundAt = performance.now() + OVERDUE_ROUND_MS
    await redispatchOverdue(await currentBroker(settings), settings, context)
  }
  return total
}

/** Closes the dispatcher's connection. Workers close their own. A later call opens another connection, with the settings of that time. */
export async function closeJobs(): Promise<void> {
  const closing = opening
  opening = undefined
  nextOverdueRoundAt = 0
  await (await closing?.catch(() => undefined))?.close()
}

async function currentBroker(settings: BrokerSettings): Promise<Broker> {
  const broker = await opening?.catch(() => undefined)
  if (broker?.isOpen()) return broker
  opening = openBroker(settings).catch(refuse)
  onShutdown(closeJobs)
  return opening
}

async function dispatchBatch(
  broker: Broker,
  { queue, server }: BrokerSettings,
  context: RequestContext,
): Promise<number> {
  await broker.ready().catch(refuse)
  const { read, failure } = await transaction(context, async (tx) => {
    if (!(await takeTurn(tx))) return { read: 0 }
    const dispatches = await readDispatches(tx, BATCH_MAX)
    if (dispatches.length === 0) return { read: 0 }
    const { done, failure } = await inSendSpans(
      () =>
        dispatches.flatMap(({ job }) =>
          job ? { system: 'rabbitmq', destination: queue, server, id: job.id, trace: job } : [],
        ),
      () => withDeadline(broker, CONFIRM_MAX_MS, () => sendAll(broker, queue, dispatches)),
    )
    await removeDispatches(tx, done)
    return { read: dispatches.length, failure }
  })
  if (failure) {
    // The next connection declares the queues again.
    broker.destroy('it did not take every message')
    return refuse(failure)
  }
  dispatched.inc(read)
  return read
}

/** Throws the error that the broker is away, or does not take jobs, and why: this is not a fault of this service. */
function refuse(error: unknown): never {
  const reason = error instanceof Error ? error.message : String(error)
  throw new ServiceError('unavailable', `RabbitMQ does not take jobs, which wait in the database: ${reason}`, {
    cause: error,
  })
}

/** The lock lasts until the commit is visible, so the next dispatcher does not see what this one has dispatched. */
async function takeTurn(tx: Sql): Promise<boolean> {
  const [row] = await tx<[{ taken: boolean }]>`select pg_try_advisory_xact_lock(${DISPATCH_LOCK}) as taken`
  return row.taken
}

/** Returns the sequences of the sent dispatches, and the failure of another one, if any. */
async function sendAll(
  broker: Broker,
  queue: string,
  dispatches: Dispatch[],
): Promise<{ done: number[]; failure?: Error }> {
  // At each batch, because an operator may have deleted a queue.
  for (const type of new Set(dispatches.flatMap(({ job }) => job?.type ?? []))) {
    if (isJobType(type)) await broker.declare(queuesOf(queue).ofType(type)).catch(refuse)
  }
  // Jobs of unknown types are not sent: the rescuer refuses them.
  const settled = await Promise.allSettled(
    dispatches.map(({ job }) => job && isJobType(job.type) && send(broker, queue, job)),
  )
  const done = dispatches.filter((_, index) => settled[index]?.status === 'fulfilled').map(({ sequence }) => sequence)
  const failed = settled.find((each) => each.status === 'rejected')
  return failed ? { done, failure: failed.reason as Error } : { done }
}

function send(broker: Broker, queue: string, job: NonNullable<Dispatch['job']>): Promise<void> {
  const { id, type, delayMs } = job
  const properties = { messageId: randomUUID(), type, contentType: 'application/json', headers: traceHeaders(job) }
  const content = { jobId: id } satisfies z.infer<typeof JobMessage>
  return broker.send(queuesOf(queue).address(type, delayMs), Buffer.from(JSON.stringify(content)), properties)
}

/**
 * Finds the jobs of a broker that has lost its messages (perhaps a new broker at the same address): these jobs would wait for ever. If the broker
 * has no message of a type left, they are the jobs of that type that have been due for a minute without a dispatch. Some of these may still be in a
 * queue for a longer delay; a second message does no harm.
 */
async function redispatchOverdue(broker: Broker, { queue }: BrokerSettings, context: RequestContext): Promise<void> {
  const { work } = queuesOf(queue)
  const types = Object.keys(jobTypes)
  const counts = await withDeadline(broker, CONFIRM_MAX_MS, () =>
    Promise.all(types.map((type) => broker.count(work(type)))),
  ).catch(refuse)
  const drained = types.filter((_, index) => counts[index] === 0)
  const count = await transaction(context, async (tx) =>
    (await takeTurn(tx)) ? dispatchOverdue(tx, drained, OVERDUE_MS, OVERDUE_MAX) : 0,
  )
  if (count === 0) return
  overdue.inc(count)
  logger().warn({ count }, 'overdue jobs dispatched again: the broker has no message of their type left')
}
