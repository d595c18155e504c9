import { randomUUID } from 'node:crypto'
import type * as z from 'zod'
import { onShutdown } from '#async'
import { primary, type RequestContext, type Sql, transaction } from '#database'
import { counter, logger } from '#telemetry'
import { type Dispatch, dispatchOverdue, hasDispatches, readDispatches, removeDispatches } from '../dispatches.ts'
import { isJobType, jobTypes } from '../job-types.ts'
import { type BrokerSettings, brokerSettings } from '../settings.ts'
import { type Broker, openBroker, withDeadline } from './broker.ts'
import type { JobMessage } from './deliveries.ts'
import { queuesOf } from './queues.ts'

/** Jobs a transaction: some 50 ms, most of it the broker's. */
const BATCH_MAX = 1_000
/** Batches a run: 20,000 jobs take some seconds, well below the time-out of a run. */
const BATCHES_MAX = 20
/** A healthy broker confirms a batch in some 20 ms. Below what a transaction may take. */
const CONFIRM_MAX_MS = 5_000
/** Any fixed number that no other advisory lock of this database uses: "jobs" in ASCII. */
const DISPATCH_LOCK = 0x6a6f6273
/** How often jobs are looked for whose message the broker has lost, how late such a job is, and how many are found at once. */
const LOOK_MS = 10_000
const OVERDUE_MS = 60_000
const OVERDUE_MAX = 1_000

const dispatched = counter('jobs_dispatched_total', 'Jobs that the broker was told of.')
const overdue = counter(
  'jobs_dispatched_again_total',
  'Jobs that were long due although the broker had no message of their type left.',
)

let opening: Promise<Broker> | undefined
let lookAt = 0

/**
 * Tells the broker of the jobs that wait for it, in batches, and forgets each once the broker has it safe. One process does so at a
 * time, whichever it is. A job may be told of twice, which is harmless: it is taken by its row. Gives how many it told of; throws
 * where the broker does not take them. Does nothing where the table is the queue.
 */
export async function dispatchJobs(context: RequestContext): Promise<number> {
  const settings = brokerSettings()
  if (!settings) return 0
  let total = 0
  for (let batch = 0; batch < BATCHES_MAX && (await hasDispatches(primary())); batch++) {
    const count = await dispatchBatch(await currentBroker(settings), settings, context)
    total += count
    if (count < BATCH_MAX) break
  }
  if (performance.now() >= lookAt) {
    lookAt = performance.now() + LOOK_MS
    await lookForOverdue(await currentBroker(settings), settings, context)
  }
  return total
}

/** Closes what is open to the broker, but for workers, which close their own. A later call opens it anew, with the settings of then. */
export async function closeJobs(): Promise<void> {
  const closing = opening
  opening = undefined
  lookAt = 0
  await (await closing?.catch(() => undefined))?.close()
}

async function currentBroker(settings: BrokerSettings): Promise<Broker> {
  const broker = await opening?.catch(() => undefined)
  if (broker?.isOpen()) return broker
  opening = openBroker(settings)
  onShutdown(closeJobs)
  return opening
}

async function dispatchBatch(broker: Broker, { queue }: BrokerSettings, context: RequestContext): Promise<number> {
  await broker.ready()
  const { read, failure } = await transaction(context, async (tx) => {
    if (!(await takeTurn(tx))) return { read: 0 }
    const dispatches = await readDispatches(tx, BATCH_MAX)
    if (dispatches.length === 0) return { read: 0 }
    const { done, failure } = await withDeadline(broker, CONFIRM_MAX_MS, () => sendAll(broker, queue, dispatches))
    await removeDispatches(tx, done)
    return { read: dispatches.length, failure }
  })
  if (failure) {
    // The next connection makes sure that the queues are there.
    broker.destroy('it did not take every message')
    throw failure
  }
  dispatched.inc(read)
  return read
}

/** The lock lasts until the commit is visible, so what one has dispatched is gone for the next. */
async function takeTurn(tx: Sql): Promise<boolean> {
  const [row] = await tx<[{ taken: boolean }]>`select pg_try_advisory_xact_lock(${DISPATCH_LOCK}) as taken`
  return row.taken
}

/** Gives those that are done with, and why others are not. */
async function sendAll(
  broker: Broker,
  queue: string,
  dispatches: Dispatch[],
): Promise<{ done: number[]; failure?: Error }> {
  // Each time: somebody may have deleted one.
  for (const type of new Set(dispatches.flatMap(({ job }) => job?.type ?? []))) {
    if (isJobType(type)) await broker.declare(queuesOf(queue).ofType(type))
  }
  // Of what nobody could run, nobody is told: it dies.
  const settled = await Promise.allSettled(
    dispatches.map(({ job }) => job && isJobType(job.type) && send(broker, queue, job)),
  )
  const done = dispatches.filter((_, index) => settled[index]?.status === 'fulfilled').map(({ sequence }) => sequence)
  const failed = settled.find((each) => each.status === 'rejected')
  return failed ? { done, failure: failed.reason as Error } : { done }
}

function send(broker: Broker, queue: string, job: NonNullable<Dispatch['job']>): Promise<void> {
  const { id, type, delayMs, traceparent, tracestate } = job
  const headers = { traceparent, ...(tracestate !== null && { tracestate }) }
  const properties = { messageId: randomUUID(), type, contentType: 'application/json', headers }
  const content = { jobId: id } satisfies z.infer<typeof JobMessage>
  return broker.send(queuesOf(queue).address(type, delayMs), Buffer.from(JSON.stringify(content)), properties)
}

/**
 * A broker that has lost its messages (a new one, perhaps, at the same address) would leave their jobs waiting for ever. When it
 * has none left for a type, a job of that type that has been due for a minute, and that it is not to be told of anyway, is one of
 * those, or in a queue for a delay that is longer than its own; then telling of it twice does no harm.
 */
async function lookForOverdue(broker: Broker, { queue }: BrokerSettings, context: RequestContext): Promise<void> {
  const { work } = queuesOf(queue)
  const types = Object.keys(jobTypes)
  const counts = await withDeadline(broker, CONFIRM_MAX_MS, () =>
    Promise.all(types.map((type) => broker.count(work(type)))),
  )
  const drained = types.filter((_, index) => counts[index] === 0)
  const count = await transaction(context, async (tx) =>
    (await takeTurn(tx)) ? dispatchOverdue(tx, drained, OVERDUE_MS, OVERDUE_MAX) : 0,
  )
  if (count === 0) return
  overdue.inc(count)
  logger().warn(
    { count },
    'jobs were long due although the broker has no message of their type left: it is told of them again',
  )
}
