import { ServiceError } from '#errors'
import { counter, histogram } from '#telemetry'
import type { Sql } from '../connections/connect.ts'
import type { RequestContext } from '../request-context.ts'
import { withRetries } from '../transactions/attempt.ts'
import { isConnectionFailure } from '../transactions/failures.ts'
import type { Decision, Member } from './answers.ts'
import { type Batch, commitBatch, type Group } from './batch.ts'
import { inBatchSpan } from './batch-span.ts'
import { createQueue, type Entry, type Queue, type QueueOptions, refusalOf } from './queue.ts'

export interface GroupCommitOptions<Request, Result> extends QueueOptions<Request> {
  /**
   * Takes, within `tx`, the locks that the members' requests need, and reads what is needed to decide them. `attempt` is 1 for the first attempt.
   * An error that it or the group throws fails the whole batch. Then each member gets a transaction of its own.
   */
  open: (tx: Sql, members: Batch<Member<Request>>, attempt: number) => Promise<Group<Request, Result>>
}

const batchSize = histogram(
  'group_commit_batch_size',
  'Requests in one transaction.',
  ['group'],
  [1, 2, 4, 8, 16, 32, 64, 128, 256],
)
const commitTime = histogram('group_commit_transaction_seconds', 'Time that a transaction of a group takes.', ['group'])
const singles = counter('group_commit_failed_batches_total', 'Batches whose members were run one by one.', ['group'])

/**
 * Runs all requests that arrive while a transaction is in flight together, in the next transaction: it locks a hot row, and flushes the log, once
 * for many. Late joiners, which arrive during the wait for the locks, are added if the locks cover them. Each request is answered after the commit
 * of its effect, under its own idempotency key, as by `transaction`. Rejects with `overloaded` if the queue is full or the wait too long, and with
 * `client_closed_request`, without an effect, if the client is gone by then.
 */
export function groupCommit<Request, Result>(options: GroupCommitOptions<Request, Result>) {
  const queue = createQueue<Request, Result>(options)
  let isRunning = false

  async function run(): Promise<void> {
    isRunning = true
    while (queue.length() > 0) {
      const [first, ...others] = queue.take([])
      if (!first) continue
      const settle = await runBatch([first, ...others], options, queue)
      // Sends the next batch's statements first (the driver sends at the end of a turn of the event loop), so that the database works while this
      // batch's answers are written.
      if (queue.length() === 0) settle()
      else setImmediate(setImmediate, settle)
    }
    isRunning = false
  }

  return (request: Request, context: RequestContext): Promise<Result> => {
    const result = queue.add(request, context)
    if (!isRunning) void run()
    return result
  }
}

/** Runs a batch, with late joiners from the queue. Returns a function that answers every member. */
async function runBatch<Request, Result>(
  batch: Batch<Entry<Request, Result>>,
  options: GroupCommitOptions<Request, Result>,
  queue?: Queue<Request, Result>,
): Promise<() => void> {
  const { name: group } = options
  const startedAt = performance.now()
  try {
    const { decisions, token } = await inBatchSpan(group, batch, () =>
      withRetries((lease, count) => commitBatch(lease, batch, (tx) => options.open(tx, batch, count), queue)),
    )
    batchSize.observe({ group }, batch.length)
    commitTime.observe({ group }, (performance.now() - startedAt) / 1000)
    return () => {
      for (const entry of batch) settle(entry, decisions.get(entry), token)
    }
  } catch (error) {
    // Without a database, single runs would fail too, and would take longer.
    if (batch.length === 1 || isUnavailable(error)) {
      return () => {
        for (const entry of batch) entry.reject(error)
      }
    }
    singles.inc({ group })
    for (const entry of batch) {
      const refusal = refusalOf(entry, performance.now())
      if (refusal) entry.reject(refusal)
      else (await runBatch([entry], options))()
    }
    return () => {}
  }
}

function settle<Request, Result>(
  { context, resolve, reject }: Entry<Request, Result>,
  decision: Decision<Result> | undefined,
  token: string,
): void {
  context.response.consistencyToken = token
  if (decision === undefined) reject(new Error('a batch left a request undecided'))
  else if ('error' in decision) reject(decision.error)
  else resolve(decision.result)
}

function isUnavailable(error: unknown): boolean {
  if (error instanceof ServiceError) return error.code === 'unavailable' || error.code === 'overloaded'
  return isConnectionFailure(error)
}
