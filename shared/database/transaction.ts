import { setTimeout as sleep } from 'node:timers/promises'
import type { ServiceError } from '#errors'
import { counter } from '#telemetry'
import type { Caller } from './caller.ts'
import { type Lease, leaseWriter, type Sql } from './connections.ts'
import { retryReason, StaleRead, toPublicError } from './failures.ts'
import { claimKey, storableFailure, storeAnswer, toFailure } from './idempotency.ts'
import { currentPosition, formatToken } from './token.ts'

/** Six attempts back off for about half a second in all, the median life of a pile-up; then the client should know. */
const ATTEMPTS_MAX = 6
const BACKOFF_BASE_MS = 10
const BACKOFF_MAX_MS = 400
/** The server's own time-outs end a statement after 10 s; this one ends the wait for a server that has gone silent. */
const TRANSACTION_MAX_MS = 12_000

const retries = counter('database_transaction_retries_total', 'Transactions run again, by reason.', ['reason'])

type Outcome<Result> = { result: Result } | { failure: ServiceError }

/**
 * Runs `work` in one transaction on the primary and answers after its commit; the caller's consistency token then covers
 * it. A deadlock, a serialisation failure or a lock time-out runs the whole of `work` again, a bounded number of times.
 * Under an idempotency key the result (which must be JSON) is stored in the same commit, and an equal request gets it
 * without running `work`; so are `work`'s final failures. Throws ServiceErrors only, but for defects.
 */
export async function transaction<Result>(caller: Caller, work: (tx: Sql) => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    const lease = await leaseWriter()
    const watchdog = setTimeout(lease.abandon, TRANSACTION_MAX_MS)
    try {
      const outcome = await run(lease, caller, work)
      if ('failure' in outcome) throw outcome.failure
      return outcome.result
    } catch (error) {
      const reason = retryReason(error)
      if (reason === undefined || attempt === ATTEMPTS_MAX) throw toPublicError(error)
      retries.inc({ reason })
    } finally {
      clearTimeout(watchdog)
      lease.release()
    }
    await sleep(fullJitterMs(attempt))
  }
}

/** "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ */
function fullJitterMs(attempt: number): number {
  return Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** attempt)
}

async function run<Result>(lease: Lease, caller: Caller, work: (tx: Sql) => Promise<Result>): Promise<Outcome<Result>> {
  const { idempotency } = caller
  const scope = openScope(lease)
  // Not awaited: BEGIN travels with the first statement, and if it fails, so does that one.
  lease.sql.unsafe('begin').catch(() => {})
  try {
    const stored = idempotency && (await claimKey(scope.tx, idempotency))
    if (stored?.failure) {
      scope.close()
      await rollback(lease)
      return { failure: toFailure(stored.failure) }
    }
    const result = stored ? (stored.result as Result) : await work(scope.tx)
    scope.close()
    await commit(lease, caller, () => idempotency && !stored && storeAnswer(lease.sql, idempotency, { result }))
    return { result }
  } catch (error) {
    scope.close()
    await rollback(lease)
    const failure = idempotency && storableFailure(error)
    // Should a twin have taken the key meanwhile, this runs again and finds its answer.
    if (failure && (await storeAnswer(lease.sql, idempotency, { failure })).length === 0) {
      throw new StaleRead('an equal request took the key first')
    }
    throw error
  }
}

/** The handle that `work` gets. It refuses statements that would run outside the transaction: behind its end, or on a new connection. */
function openScope(lease: Lease): { tx: Sql; close: () => void } {
  let closed = false
  const tx = new Proxy(lease.sql, {
    apply(sql, self, args) {
      if (closed) throw new Error('a statement was sent after its transaction had ended')
      if (lease.isLost()) throw connectionLost()
      return Reflect.apply(sql, self, args)
    },
  })
  const close = () => {
    closed = true
  }
  return { tx, close }
}

/** COMMIT of a failed transaction succeeds as ROLLBACK: only its command tag tells. */
async function commit(lease: Lease, caller: Caller, store: () => unknown): Promise<void> {
  if (lease.isLost()) throw connectionLost()
  const [, committed, [position]] = await Promise.all([store(), lease.sql.unsafe('commit'), currentPosition(lease.sql)])
  if (committed.command !== 'COMMIT') throw new Error(`the transaction ended with ${committed.command}`)
  caller.consistency.token = formatToken(position)
}

/** Fails only where the connection is gone, and the transaction with it. */
async function rollback(lease: Lease): Promise<void> {
  if (!lease.isLost()) await lease.sql.unsafe('rollback').catch(() => {})
}

function connectionLost(): Error {
  return Object.assign(new Error('the connection dropped in the middle of a transaction'), {
    code: 'CONNECTION_CLOSED',
  })
}
