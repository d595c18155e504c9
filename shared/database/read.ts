import { bulkhead, isBulkheadRejectedError } from 'cockatiel'
import { ServiceError } from '#errors'
import { counter } from '#telemetry'
import type { Caller } from './caller.ts'
import type { Sql } from './connect.ts'
import { primary, primaryKnown, replicaEpoch, resetPrimary, suspectPrimary } from './connections.ts'
import { isConnectionFailure, retryReason, toPublicError } from './failures.ts'
import { type ReplicaWatch, watchReplica } from './replica.ts'
import { databaseSettings } from './settings.ts'
import { currentPosition, formatToken, justBefore, type LogPosition, parseToken } from './token.ts'
import { isStalled, within } from './within.ts'

/** A replica that takes longer than this for a read is taken for stalled. */
const REPLICA_READ_MAX_MS = 2_000
/**
 * Reads that the primary is asked at a time while it stands in for the replica, for each connection: the driver sends them one
 * behind the other. And those that wait for that: at 1 ms a read, they are through in 50 ms.
 */
const STAND_IN_MAX = 4
const STAND_IN_WAITING_MAX = 500
/** The same where there is no replica, and the primary is there for reads too; a function's own limit is below that. */
const ALONE_MAX = 50
const ALONE_WAITING_MAX = 10_000
/** The server's own time-out ends a statement after 10 s; this one ends the wait for a server that has gone silent. */
const PRIMARY_READ_MAX_MS = 11_000
/** A position this old is as good as the current one where any will do: what is read can only be newer. */
const LATELY_MS = 100

const reads = counter('database_reads_total', 'Reads, by the server that answered and why.', ['server', 'reason'])

type Query<Result> = (sql: Sql) => Promise<Result>

interface Readers {
  watch: ReplicaWatch | undefined
  /** Bounds what the primary is asked: a replica that lags must not bring it down. */
  toPrimary: ReturnType<typeof bulkhead>
  /** Where the primary's log was, and when it was asked. */
  lately: { position: LogPosition; at: number } | undefined
}

let readers: Readers | undefined

function openReaders(): Readers {
  const { DATABASE_REPLICA_URL, DATABASE_POOL_MAX } = databaseSettings()
  const hasReplica = DATABASE_REPLICA_URL !== undefined
  return {
    watch: hasReplica ? watchReplica() : undefined,
    toPrimary: hasReplica
      ? bulkhead(STAND_IN_MAX * DATABASE_POOL_MAX, STAND_IN_WAITING_MAX)
      : bulkhead(ALONE_MAX * DATABASE_POOL_MAX, ALONE_WAITING_MAX),
    lately: undefined,
  }
}

/** Stops watching the replica; the next read begins anew. */
export function stopReading(): void {
  readers?.watch?.stop()
  readers = undefined
}

/**
 * Runs a query that changes nothing: on the replica if it is well and, for a caller with a consistency token, has replayed
 * that far; else on the primary. `query` may run twice. With `unless`, a replica's answer for which it holds is asked for
 * again on the primary: a thing that is missing there may only be late. Throws ServiceErrors only, but for defects:
 * `overloaded` where too many wait for the primary.
 */
export async function read<Result>(
  caller: Caller,
  query: Query<Result>,
  unless: (result: Result) => boolean = () => false,
): Promise<Result> {
  const fromReplica = await onReplica(caller, query)
  if (fromReplica && !unless(fromReplica.result)) return fromReplica.result
  const position = hasOldTimeline(caller) ? await primaryPosition(caller) : undefined
  const result = await onPrimary(query, fromReplica ? 'missing_on_replica' : 'not_replayed_or_down')
  // With a token of what was promoted since, the caller's next read need not be here.
  if (position) caller.consistency.token = formatToken(position)
  return result
}

/** Whether the caller's token is from before a fail-over: no replica can tell whether it has all of that. */
function hasOldTimeline({ consistency: { token } }: Caller): boolean {
  const known = readers?.watch?.replayed()
  return token !== undefined && known !== undefined && parseToken(token).timeline < known.timeline
}

/** As `read`, with a token for what the answer covers: it may be newer, but not older. */
export async function readAsOf<Result>(
  caller: Caller,
  query: Query<Result>,
  unless: (result: Result) => boolean = () => false,
): Promise<{ result: Result; asOf: string }> {
  const fromReplica = await onReplica(caller, query)
  if (fromReplica?.asOf && !unless(fromReplica.result)) return { result: fromReplica.result, asOf: fromReplica.asOf }
  const position = await primaryPosition(caller)
  const result = await onPrimary(query, fromReplica ? 'missing_on_replica' : 'not_replayed_or_down')
  // On the primary a commit is in the log before it can be seen, and with a replica to be waited for, long before. A transaction
  // that the query has not seen has a token of this position, at the least, since it is read when the commit is over.
  return { result, asOf: formatToken(justBefore(position)) }
}

/** Where the primary's log was a moment ago, which is all that a caller needs who asks for nothing newer. */
async function primaryPosition({ consistency }: Caller): Promise<LogPosition> {
  readers ??= openReaders()
  const { lately } = readers
  const now = performance.now()
  if (consistency.token === undefined && lately && now - lately.at < LATELY_MS) return lately.position
  const [position] = await onPrimary((sql) => currentPosition(sql), 'position')
  if (readers) readers.lately = { position, at: now }
  return position
}

/** The replica's answer, or undefined where the primary should be asked instead. */
async function onReplica<Result>(
  caller: Caller,
  query: Query<Result>,
): Promise<{ result: Result; asOf: string | undefined } | undefined> {
  const { token } = caller.consistency
  const position = token === undefined ? undefined : parseToken(token)
  readers ??= openReaders()
  const { watch } = readers
  const sql = await watch?.inRotation()
  if (!watch || !sql) return undefined
  if (position && !(await watch.hasReplayed(position))) return undefined
  // Before the query: what it sees is this, or later.
  const replayed = watch.replayed()
  const epoch = replicaEpoch()
  try {
    const result = await within(REPLICA_READ_MAX_MS, () => query(sql))
    // A connection has ended meanwhile: the query may have been answered by a server that has been restarted and is behind.
    if (position && replicaEpoch() !== epoch) return undefined
    reads.inc({ server: 'replica', reason: position ? 'replayed' : 'no_token' })
    return { result, asOf: replicaEpoch() === epoch && replayed ? formatToken(replayed) : undefined }
  } catch (error) {
    // A recovery conflict (40001) cancels one query; the replica itself is well.
    if (retryReason(error)) return undefined
    if (!isConnectionFailure(error)) throw toPublicError(error)
    watch.suspect()
    return undefined
  }
}

async function onPrimary<Result>(query: Query<Result>, reason: string): Promise<Result> {
  await primaryKnown()
  readers ??= openReaders()
  try {
    const result = await readers.toPrimary.execute(() => within(PRIMARY_READ_MAX_MS, () => query(primary())))
    reads.inc({ server: 'primary', reason })
    return result
  } catch (error) {
    if (isStalled(error)) resetPrimary()
    if (isConnectionFailure(error)) suspectPrimary()
    if (!isBulkheadRejectedError(error)) throw toPublicError(error)
    throw new ServiceError('overloaded', 'Too many reads wait for the primary database. Try again shortly.', {
      retryAfterSeconds: 1,
    })
  }
}
