import { fullJitter, pause } from '#async'
import { counter, logger, tracing } from '#telemetry'
import type { Sql } from '../connections/connect.ts'
import { leaseWriter, suspectPrimary } from '../connections/connections.ts'
import { newQuery } from '../connections/driver/driver.ts'
import { isOutdated, type Query } from '../connections/driver/driver-mends.ts'
import type { Lease } from '../connections/pool/lease-pool.ts'
import { isConnectionFailure, retryReason, toPublicError } from './failures.ts'
import { allHandedOver } from './pipeline.ts'
import { currentPosition, formatToken } from './token.ts'

/** Six attempts back off for half a second in total, the median duration of a pile-up. After that, the client has to retry. */
const ATTEMPTS_MAX = 6
const BACKOFF = { baseMs: 10, maxMs: 400 }
/** The server ends a statement after 10 s. This limit ends the wait for a silent server. */
const TRANSACTION_MAX_MS = 12_000

const retries = counter('database_transaction_retries_total', 'Transactions run again, by reason.', ['reason'])

/**
 * Runs an attempt at a transaction (`count` is 1 for the first) on a leased connection, and retries it, six attempts in all, after a deadlock,
 * a serialisation failure, a lock time-out, a change of the schema or a StaleRead. Throws the last attempt's error, as a public error.
 */
export async function withRetries<Result>(attempt: (lease: Lease, count: number) => Promise<Result>): Promise<Result> {
  for (let count = 1; ; count++) {
    const lease = await leaseWriter()
    const watchdog = setTimeout(lease.abandon, TRANSACTION_MAX_MS)
    try {
      return await attempt(lease, count)
    } catch (error) {
      if (isConnectionFailure(error)) suspectPrimary()
      // Drops the connection, and with it the outdated prepared statements.
      if (isOutdated(error)) lease.abandon()
      const reason = retryReason(error)
      if (reason === undefined || count === ATTEMPTS_MAX) throw toPublicError(error)
      retries.inc({ reason })
      tracing()?.current()?.addEvent('retry', { reason, attempt: count })
    } finally {
      clearTimeout(watchdog)
      lease.release()
    }
    await pause(fullJitter(count, BACKOFF))
  }
}

/**
 * Begins a transaction. `tx` refuses statements that would run outside of it: after `close`, or on a new connection. Like all statements, these
 * fail when they are awaited: an error thrown between the statements of a `pipeline` would leave those before it unawaited. BEGIN is not awaited:
 * it is sent together with the first statement, which fails if BEGIN fails.
 */
export function begin(lease: Lease): { tx: Sql; close: () => void } {
  lease.sql.unsafe(lease.opening).catch(() => {})
  let closed = false
  const tx = new Proxy(lease.sql, {
    apply(sql, self, args) {
      if (closed) return refuse(sql, new Error('a statement was sent after its transaction had ended'))
      if (lease.isLost()) return refuse(sql, connectionLost('the connection dropped in the middle of a transaction'))
      return Reflect.apply(sql, self, args)
    },
  })
  const close = () => {
    closed = true
  }
  return { tx, close }
}

/** The work to do right after each transaction's commit. */
const afterwards = new WeakMap<Sql, Array<(token: string) => void>>()

/**
 * Registers `work` to run after the commit of `tx` and before its answer, with the token that covers the commit. `work` must be quick. An error
 * that it throws is logged, and changes nothing: `tx` is committed.
 */
export function afterCommit(tx: Sql, work: (token: string) => void): void {
  const works = afterwards.get(tx)
  if (works) works.push(work)
  else afterwards.set(tx, [work])
}

/**
 * Sends the last statements, if any, together with COMMIT. Returns the consistency token that covers the commit. Throws the error of a failed
 * statement. COMMIT of a failed transaction succeeds as ROLLBACK, which its command tag shows. The server does not know of a statement that could
 * not be sent, and would commit the others, so COMMIT is not sent after such a statement. After the commit, no error is thrown that would make the
 * transaction run again.
 */
export async function commit(lease: Lease, tx: Sql, lastStatements: () => unknown): Promise<string> {
  if (lease.isLost()) throw connectionLost('the connection dropped before the commit')
  const last = lastStatements()
  await Promise.race([last, allHandedOver()])
  const [written, committed, position] = await Promise.allSettled([
    last,
    lease.sql.unsafe('commit'),
    currentPosition(lease.sql),
  ])
  if (written.status === 'rejected') throw written.reason
  if (committed.status === 'rejected') throw committed.reason
  const { command } = committed.value
  if (command !== 'COMMIT') throw new Error(`the transaction ended with ${command}`)
  if (position.status === 'rejected') throw connectionLost('what covers a commit is not known', position.reason)
  const token = formatToken(position.value[0])
  for (const work of afterwards.get(tx) ?? []) {
    try {
      work(token)
    } catch (error) {
      logger().error({ err: error }, 'what follows a commit has failed')
    }
  }
  return token
}

/** Never throws: it fails only if the connection is lost, and the transaction with it. */
export async function rollback(lease: Lease): Promise<void> {
  if (!lease.isLost()) await lease.sql.unsafe('rollback').catch(() => {})
}

/** A statement that fails without being sent. */
function refuse(sql: Sql, error: Error): Query {
  const query = newQuery(sql)
  query.executed = true
  query.reject(error)
  // Perhaps nothing will await it: it may be a part of another statement, or follow one that has failed.
  ;(query as unknown as Promise<unknown>).catch(() => {})
  return query
}

/** The error that tells the client that the database does not answer, and to repeat its request with its key. */
function connectionLost(message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code: 'CONNECTION_CLOSED' })
}
