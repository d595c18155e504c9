import { ServiceError } from '#errors'
import { counter, gauge, histogram } from '#telemetry'
import { begin, commit, rollback, withRetries } from './attempt.ts'
import type { Caller } from './caller.ts'
import type { Lease, Sql } from './connections.ts'
import { isConnectionFailure } from './failures.ts'
import { claim, type Decision, type Member, store } from './group-answers.ts'
import { nameOf } from './idempotency.ts'
import { pipeline } from './pipeline.ts'

export interface GroupCommitOptions<Request, Result> {
  /** For the metrics. */
  name: string
  /** Requests in one transaction. */
  batchMax: number
  /** Requests that may wait for the next one. */
  queueMax: number
  /** What no two requests of one transaction may have in common. */
  keysOf?: (request: Request) => string[]
  /**
   * Decides all of a batch within `tx`, a decision a member, in their order, and sends the writes, which `written` waits for:
   * the commit travels right behind them. A refusal is a decision and leaves no write. What it throws fails the whole batch:
   * then each member gets a transaction of its own. `attempt` is 1 for the first.
   */
  decide: (tx: Sql, members: ReadonlyArray<Member<Request>>, attempt: number) => Promise<Decided<Result>>
}

export interface Decided<Result> {
  decisions: Array<Decision<Result>>
  written: Promise<unknown>
}

interface Entry<Request, Result> extends Member<Request> {
  enqueuedAt: number
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

/** Past this, whoever asked has given up (a function's default time-out is 5 s): its place in the batch is better used. */
const WAIT_MAX_MS = 4_000

const batchSize = histogram(
  'group_commit_batch_size',
  'Requests in one transaction.',
  ['group'],
  [1, 2, 4, 8, 16, 32, 64, 128, 256],
)
const queueWait = histogram('group_commit_wait_seconds', 'Time from a request to the begin of its transaction.', [
  'group',
])
const commitTime = histogram('group_commit_transaction_seconds', 'Time that a transaction of a group takes.', ['group'])
const queueLength = gauge('group_commit_queue_length', 'Requests that wait for the next transaction.', ['group'])
const singles = counter('group_commit_failed_batches_total', 'Batches whose members were run one by one.', ['group'])

/**
 * Runs the requests that wait while a transaction is in flight as the next one: a hot row is then locked, and the log
 * flushed, once for many. Each is answered after the commit that holds its effect, under its own idempotency key, as
 * `transaction` would have it. Rejects with `overloaded` when the queue is full or the wait too long, and with
 * `client_closed_request`, having done nothing, where the caller is gone when its turn comes.
 */
export function groupCommit<Request, Result>(options: GroupCommitOptions<Request, Result>) {
  const { name: group, queueMax } = options
  let queue: Array<Entry<Request, Result>> = []
  let isRunning = false

  async function run(): Promise<void> {
    isRunning = true
    while (queue.length > 0) {
      const taken = takeBatch(queue, options)
      queue = taken.left
      queueLength.set({ group }, queue.length)
      if (taken.batch.length > 0) await runBatch(taken.batch, options)
    }
    isRunning = false
  }

  return (request: Request, caller: Caller): Promise<Result> =>
    new Promise((resolve, reject) => {
      if (queue.length >= queueMax) {
        reject(overloaded(`${queueMax} requests already wait for their turn.`))
        return
      }
      queue.push({ request, caller, resolve, reject, enqueuedAt: performance.now() })
      if (!isRunning) void run()
    })
}

/** The next batch, in the order of arrival. A request that has something in common with one before it is left for the next. */
function takeBatch<Request, Result>(
  queue: ReadonlyArray<Entry<Request, Result>>,
  { batchMax, keysOf }: GroupCommitOptions<Request, Result>,
) {
  const batch: Array<Entry<Request, Result>> = []
  const left: Array<Entry<Request, Result>> = []
  const seen = new Set<string>()
  const now = performance.now()
  for (const entry of queue) {
    const { request, caller } = entry
    if (caller.isGone()) {
      entry.reject(new ServiceError('client_closed_request', 'Whoever asked has gone before the work began.'))
      continue
    }
    if (now - entry.enqueuedAt > WAIT_MAX_MS) {
      entry.reject(overloaded('The request has waited for too long.'))
      continue
    }
    const keys = keysOf?.(request) ?? []
    if (caller.idempotency) keys.push(`key ${nameOf(caller.idempotency)}`)
    if (batch.length === batchMax || keys.some((key) => seen.has(key))) left.push(entry)
    else batch.push(entry)
    // Those left behind count too, so that equals stay in their order.
    for (const key of keys) seen.add(key)
  }
  return { batch, left }
}

/** Runs a batch to its end: every member is settled, none is left behind. */
async function runBatch<Request, Result>(
  batch: Array<Entry<Request, Result>>,
  options: GroupCommitOptions<Request, Result>,
): Promise<void> {
  const { name: group } = options
  const startedAt = performance.now()
  batchSize.observe({ group }, batch.length)
  const wait = queueWait.labels(group)
  for (const { enqueuedAt } of batch) wait.observe((startedAt - enqueuedAt) / 1000)
  try {
    const { decisions, token } = await withRetries((lease, count) => attempt(lease, batch, options, count))
    commitTime.observe({ group }, (performance.now() - startedAt) / 1000)
    batch.forEach((entry, index) => {
      const decision = decisions[index]
      entry.caller.consistency.token = token
      if (decision === undefined) entry.reject(new Error(`${group} left a request undecided`))
      else if ('error' in decision) entry.reject(decision.error)
      else entry.resolve(decision.result)
    })
  } catch (error) {
    const [only] = batch
    // Without a database, one by one would only take longer to fail.
    if (only === undefined || batch.length === 1 || isUnavailable(error)) {
      for (const entry of batch) entry.reject(error)
      return
    }
    singles.inc({ group })
    for (const entry of batch) await runBatch([entry], options)
  }
}

function isUnavailable(error: unknown): boolean {
  return isConnectionFailure(error) || (error instanceof ServiceError && error.code === 'unavailable')
}

async function attempt<Request, Result>(
  lease: Lease,
  batch: ReadonlyArray<Member<Request>>,
  { decide }: GroupCommitOptions<Request, Result>,
  count: number,
): Promise<{ decisions: Array<Decision<Result>>; token: string }> {
  const { tx, close } = begin(lease)
  try {
    const claimed = await claim<Request, Result>(tx, batch)
    const open = batch.filter((member) => !claimed.has(member))
    const fresh = open.length === 0 ? undefined : await decide(tx, open, count)
    // Should the connection be gone by now, nobody waits for it.
    fresh?.written.catch(() => {})
    const decisionOf = new Map(open.map((member, index) => [member, fresh?.decisions[index]]))
    close()
    const token = await commit(lease, () => pipeline([fresh?.written, store(lease.sql, decisionOf)]))
    const decisions = batch.map((member) => claimed.get(member) ?? decisionOf.get(member))
    return { decisions: decisions as Array<Decision<Result>>, token }
  } catch (error) {
    close()
    await rollback(lease)
    throw error
  }
}

function overloaded(detail: string): ServiceError {
  return new ServiceError('overloaded', `${detail} Try again shortly.`, { retryAfterSeconds: 1 })
}
