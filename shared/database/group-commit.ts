import { ServiceError } from '#errors'
import { counter, histogram } from '#telemetry'
import { begin, commit, rollback, withRetries } from './attempt.ts'
import type { Caller } from './caller.ts'
import type { Lease, Sql } from './connections.ts'
import { isConnectionFailure } from './failures.ts'
import { claim, type Decision, type Member, store } from './group-answers.ts'
import { createQueue, type Entry, type QueueOptions } from './group-queue.ts'
import { pipeline } from './pipeline.ts'

export interface GroupCommitOptions<Request, Result> extends QueueOptions<Request> {
  /**
   * Takes the locks that the members' requests need, within `tx`, and reads what deciding on them needs. `attempt` is 1 for the
   * first. What it or the group throws fails the whole batch: then each member gets a transaction of its own.
   */
  open: (tx: Sql, members: Batch<Member<Request>>, attempt: number) => Promise<Group<Request, Result>>
}

/** What a batch is decided with, while its locks are held. */
export interface Group<Request, Result> {
  /** Whether a request that came while the locks were waited for can be decided under them. */
  covers: (request: Request) => boolean
  /** Decides one request; called in the order of arrival. A refusal is a decision and leaves no write. */
  decide: (member: Member<Request>) => Decision<Result>
  /** Sends the writes of all that was decided: the commit travels right behind them. */
  write: () => Promise<unknown>
}

type Batch<Item> = [Item, ...Item[]]

const batchSize = histogram(
  'group_commit_batch_size',
  'Requests in one transaction.',
  ['group'],
  [1, 2, 4, 8, 16, 32, 64, 128, 256],
)
const commitTime = histogram('group_commit_transaction_seconds', 'Time that a transaction of a group takes.', ['group'])
const joined = counter(
  'group_commit_joined_total',
  'Requests that joined a transaction while it waited for its locks.',
  ['group'],
)
const singles = counter('group_commit_failed_batches_total', 'Batches whose members were run one by one.', ['group'])

/**
 * Runs the requests that wait while a transaction is in flight as the next one: a hot row is then locked, and the log
 * flushed, once for many. Those that come while it waits for its locks join it, where the locks do for them too. Each is
 * answered after the commit that holds its effect, under its own idempotency key, as `transaction` would have it. Rejects
 * with `overloaded` when the queue is full or the wait too long, and with `client_closed_request`, having done nothing,
 * where the caller is gone when its turn comes.
 */
export function groupCommit<Request, Result>(options: GroupCommitOptions<Request, Result>) {
  const queue = createQueue<Request, Result>(options)
  let isRunning = false

  async function run(): Promise<void> {
    isRunning = true
    while (queue.length() > 0) {
      const [first, ...others] = queue.take([])
      if (!first) continue
      const settle = await runBatch([first, ...others], options, queue.take)
      // The next batch's statements go out first (the driver sends at the end of a turn of the event loop): the database then
      // works while this one's answers are written.
      if (queue.length() === 0) settle()
      else setImmediate(setImmediate, settle)
    }
    isRunning = false
  }

  return (request: Request, caller: Caller): Promise<Result> =>
    new Promise((resolve, reject) => {
      queue.add({ request, caller, resolve, reject, enqueuedAt: performance.now() })
      if (!isRunning) void run()
    })
}

type Take<Request, Result> = ReturnType<typeof createQueue<Request, Result>>['take']

/** Runs a batch to its end, and gives what tells every member of it. */
async function runBatch<Request, Result>(
  batch: Batch<Entry<Request, Result>>,
  options: GroupCommitOptions<Request, Result>,
  take: Take<Request, Result>,
): Promise<() => void> {
  const { name: group } = options
  const startedAt = performance.now()
  try {
    const { decisions, token } = await withRetries((lease, count) => attempt(lease, batch, options, count, take))
    batchSize.observe({ group }, batch.length)
    commitTime.observe({ group }, (performance.now() - startedAt) / 1000)
    return () => {
      for (const entry of batch) settle(entry, decisions.get(entry), token)
    }
  } catch (error) {
    // Without a database, one by one would only take longer to fail.
    if (batch.length === 1 || isUnavailable(error)) {
      return () => {
        for (const entry of batch) entry.reject(error)
      }
    }
    singles.inc({ group })
    for (const entry of batch) (await runBatch([entry], options, () => []))()
    return () => {}
  }
}

function settle<Request, Result>(
  { caller, resolve, reject }: Entry<Request, Result>,
  decision: Decision<Result> | undefined,
  token: string,
): void {
  caller.consistency.token = token
  if (decision === undefined) reject(new Error('a group left a request undecided'))
  else if ('error' in decision) reject(decision.error)
  else resolve(decision.result)
}

function isUnavailable(error: unknown): boolean {
  return isConnectionFailure(error) || (error instanceof ServiceError && error.code === 'unavailable')
}

async function attempt<Request, Result>(
  lease: Lease,
  batch: Batch<Entry<Request, Result>>,
  { name, open }: GroupCommitOptions<Request, Result>,
  count: number,
  take: Take<Request, Result>,
): Promise<{ decisions: Map<Member<Request>, Decision<Result>>; token: string }> {
  const { tx, close } = begin(lease)
  try {
    // Sent together. A member whose answer is stored already has locks taken for nothing, which harms nobody.
    const [claimed, group] = await pipeline([claim<Request, Result>(tx, batch), open(tx, batch, count)])
    const late = take(batch, ({ request }) => group.covers(request))
    batch.push(...late)
    joined.inc({ group: name }, late.length)
    for (const [member, decision] of await claim<Request, Result>(tx, late)) claimed.set(member, decision)
    const decided = new Map<Member<Request>, Decision<Result>>()
    for (const member of batch) if (!claimed.has(member)) decided.set(member, group.decide(member))
    const written = group.write()
    // Should the connection be gone by now, nobody waits for it.
    written.catch(() => {})
    close()
    const token = await commit(lease, () => pipeline([written, store(lease.sql, decided)]))
    return { decisions: new Map([...claimed, ...decided]), token }
  } catch (error) {
    close()
    await rollback(lease)
    throw error
  }
}
