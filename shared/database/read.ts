import { setTimeout as sleep } from 'node:timers/promises'
import { counter } from '#telemetry'
import type { Caller } from './caller.ts'
import { primary, replica, resetReplica, type Sql } from './connections.ts'
import { isConnectionFailure, retryReason, toPublicError } from './failures.ts'
import { parseToken } from './token.ts'

/** How long a read with a token waits for the replica to catch up before it goes to the primary. */
const REPLAY_WAIT_MS = 150
/** A replica that failed or stalled is left alone for this long. */
const REPLICA_REST_MS = 2_000
/** A replica that takes longer than this for a read is taken for stalled. */
const REPLICA_READ_MAX_MS = 2_000

const reads = counter('database_reads_total', 'Reads, by the server that answered and why.', ['server', 'reason'])

let replicaRestsUntil = 0

/**
 * Runs a query that changes nothing: on the replica if it is there and, for a caller with a consistency token, has
 * replayed that far; else on the primary. `query` may run twice. With `unless`, a replica's answer for which it holds is
 * asked for again on the primary: a thing that is missing there may only be late. Throws ServiceErrors only, but for defects.
 */
export async function read<Result>(
  caller: Caller,
  query: (sql: Sql) => Promise<Result>,
  unless: (result: Result) => boolean = () => false,
): Promise<Result> {
  const fromReplica = await readReplica(caller, query)
  if (fromReplica && !unless(fromReplica.result)) return fromReplica.result
  try {
    const result = await query(primary())
    reads.inc({ server: 'primary', reason: fromReplica ? 'missing_on_replica' : 'not_replayed_or_down' })
    return result
  } catch (error) {
    throw toPublicError(error)
  }
}

/** The replica's answer, or undefined where the primary should be asked instead. */
async function readReplica<Result>(
  caller: Caller,
  query: (sql: Sql) => Promise<Result>,
): Promise<{ result: Result } | undefined> {
  const { token } = caller.consistency
  const position = token === undefined ? undefined : parseToken(token)
  const sql = Date.now() < replicaRestsUntil ? undefined : replica()
  if (!sql) return undefined
  try {
    return await within(REPLICA_READ_MAX_MS, async () => {
      if (position && !(await replayed(sql, position))) return undefined
      const result = await query(sql)
      reads.inc({ server: 'replica', reason: position ? 'replayed' : 'no_token' })
      return { result }
    })
  } catch (error) {
    // A recovery conflict (40001) cancels one query; the replica itself is well.
    if (retryReason(error)) return undefined
    if (!isConnectionFailure(error)) throw toPublicError(error)
    replicaRestsUntil = Date.now() + REPLICA_REST_MS * (1 + Math.random())
    resetReplica()
    return undefined
  }
}

/** Waits until the replica, on the same timeline, has replayed the position. A promoted server is no replica any more. */
async function replayed(sql: Sql, { timeline, lsn }: { timeline: number; lsn: string }): Promise<boolean> {
  const deadline = Date.now() + REPLAY_WAIT_MS
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 20)) {
    const [row] = await sql<[{ here: boolean | null }]>`
      select pg_is_in_recovery() and timeline_id = ${timeline} and pg_last_wal_replay_lsn() >= ${lsn}::pg_lsn as here
      from pg_control_checkpoint()`
    if (row.here) return true
    if (Date.now() + pauseMs > deadline) return false
    await sleep(pauseMs)
  }
}

async function within<Result>(limitMs: number, work: () => Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(Object.assign(new Error('the replica did not answer in time'), { code: 'CONNECT_TIMEOUT' }))
    }, limitMs)
  })
  try {
    return await Promise.race([work(), stalled])
  } finally {
    clearTimeout(timer)
  }
}
