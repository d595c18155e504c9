import { isBulkheadRejectedError } from 'cockatiel'
import { onShutdown } from '#async'
import { overloaded, ServiceError } from '#errors'
import { counter } from '#telemetry'
import type { Sql } from '../connections/connect.ts'
import {
  primaryKnown,
  primaryReaders,
  REPLICA_STATEMENT_MAX_MS,
  replicaEpoch,
  retirePrimaryReaders,
  suspectPrimary,
} from '../connections/connections.ts'
import type { Readers } from '../connections/readers.ts'
import { isServerTimeout, withServerTimeout } from '../connections/server-timeout.ts'
import { databaseSettings } from '../connections/settings.ts'
import { type RequestContext, systemContext } from '../request-context.ts'
import { isCancelled, isConnectionFailure, retryReason, toPublicError } from '../transactions/failures.ts'
import { currentPosition, formatToken, justBefore, type LogPosition, parseToken } from '../transactions/token.ts'
import { boundOfPrimary } from './bound-of-primary.ts'
import { monitorReplica, type ReplicaMonitor } from './replica-monitor.ts'
import { inScan } from './scan.ts'

/** The server ends a statement after 5 s, and those ahead of it on its connection; this ends the wait for one that has gone silent. */
const PRIMARY_READ_MAX_MS = 11_000
/** A scan's wait for its turn, its own time, and a moment more. */
const SCAN_READ_MAX_MS = 7_000
/** Whatever lag the settings allow other reads: a key that is revoked must soon be refused. */
const KEY_LAG_MAX_MS = 2_000
/** A position this old is as good as the current one where any will do: what is read can only be newer. */
const LATELY_MS = 100

const reads = counter('database_reads_total', 'Reads, by the server that answered and why.', ['server', 'reason'])

type Query<Result> = (sql: Sql) => Promise<Result>

/** Which of a server's connections a query is for. */
type Lane = 'rows' | 'keys' | 'scans'

interface Routing {
  monitor: ReplicaMonitor | undefined
  /** Bounds what the primary is asked: a replica that lags must not bring it down. Scans have a bound of their own on each server. */
  toPrimary: Record<Exclude<Lane, 'scans'>, ReturnType<typeof boundOfPrimary>>
  /** Where the primary's log was, and when it was asked. */
  lately: { position: LogPosition; at: number } | undefined
}

let routing: Routing | undefined

function openRouting(): Routing {
  // Has the connections register first, so that they are closed after what asks on them.
  void primaryKnown()
  onShutdown(stopReading)
  const monitor = databaseSettings().DATABASE_REPLICA_URL === undefined ? undefined : monitorReplica()
  return { monitor, toPrimary: { rows: boundOfPrimary(), keys: boundOfPrimary() }, lately: undefined }
}

/** Stops monitoring the replica. The next read starts anew. */
export function stopReading(): void {
  routing?.monitor?.stop()
  routing = undefined
}

/**
 * Runs a query that finds some rows by an index: on the replica if it is well and, for a request with a consistency token, has
 * replayed that far; else on the primary. `query` may run twice, but never because it was slow. With `unless`, a replica's answer for
 * which it holds is asked for again on the primary: a thing that is missing there may only be late. Throws ServiceErrors only, but for
 * defects: `overloaded` where too many wait for the primary, or the query takes too long.
 */
export async function read<Result>(
  context: RequestContext,
  query: Query<Result>,
  unless: (result: Result) => boolean = () => false,
): Promise<Result> {
  return readBy('rows', context, query, unless)
}

/** The same for a query that may look through a table. Few run at a time, so that all others go on; the rest wait, or are refused. */
export async function scan<Result>(context: RequestContext, query: Query<Result>): Promise<Result> {
  return readBy('scans', context, query, () => false)
}

/** The same for the look-up of an API key, on connections that nothing else is on; from no replica that is 2 s behind, or more. */
export async function readKey<Result>(query: Query<Result>, unless: (result: Result) => boolean): Promise<Result> {
  return readBy('keys', systemContext('function:auth'), query, unless)
}

async function readBy<Result>(
  lane: Lane,
  context: RequestContext,
  query: Query<Result>,
  unless: (result: Result) => boolean,
): Promise<Result> {
  const fromReplica = await onReplica(lane, context, query)
  if (fromReplica && !unless(fromReplica.result)) return fromReplica.result
  const position = hasOldTimeline(context) ? await primaryPosition(context) : undefined
  const result = await onPrimary(lane, query, fromReplica ? 'missing_on_replica' : 'not_replayed_or_down')
  // With a token of what was promoted since, the request's next read need not be here.
  if (position) context.response.consistencyToken = formatToken(position)
  return result
}

/** Whether the request's token is from before a fail-over: no replica can tell whether it has all of that. */
function hasOldTimeline({ response: { consistencyToken: token } }: RequestContext): boolean {
  const known = routing?.monitor?.replayed()
  return token !== undefined && known !== undefined && parseToken(token).timeline < known.timeline
}

/** As `read`, with a token for what the answer covers: it may be newer, but not older. */
export async function readAsOf<Result>(
  context: RequestContext,
  query: Query<Result>,
  unless: (result: Result) => boolean = () => false,
): Promise<{ result: Result; asOf: string }> {
  const fromReplica = await onReplica('rows', context, query)
  if (fromReplica?.asOf && !unless(fromReplica.result)) return { result: fromReplica.result, asOf: fromReplica.asOf }
  const position = await primaryPosition(context)
  const result = await onPrimary('rows', query, fromReplica ? 'missing_on_replica' : 'not_replayed_or_down')
  // On the primary a commit is in the log before it can be seen, and with a replica to be waited for, long before. A transaction
  // that the query has not seen has a token of this position, at the least, since it is read when the commit is over.
  return { result, asOf: formatToken(justBefore(position)) }
}

/** Where the primary's log was a moment ago, which is all that a request needs that has no token. */
async function primaryPosition({ response }: RequestContext): Promise<LogPosition> {
  routing ??= openRouting()
  const { lately } = routing
  const now = performance.now()
  if (response.consistencyToken === undefined && lately && now - lately.at < LATELY_MS) return lately.position
  const [position] = await onPrimary('rows', (sql) => currentPosition(sql), 'position')
  if (routing) routing.lately = { position, at: now }
  return position
}

/** The replica's answer, or undefined where the primary should be asked instead. */
async function onReplica<Result>(
  lane: Lane,
  context: RequestContext,
  query: Query<Result>,
): Promise<{ result: Result; asOf: string | undefined } | undefined> {
  const { consistencyToken: token } = context.response
  const position = token === undefined ? undefined : parseToken(token)
  routing ??= openRouting()
  const { monitor } = routing
  const readers = await monitor?.inRotation()
  if (!monitor || !readers) return undefined
  if (lane === 'keys' && monitor.lagMs() > KEY_LAG_MAX_MS) return undefined
  if (position && !(await monitor.hasReplayed(position))) return undefined
  // Before the query: what it sees is this, or later.
  const replayed = monitor.replayed()
  const epoch = replicaEpoch()
  try {
    const limitMs = lane === 'scans' ? SCAN_READ_MAX_MS : REPLICA_STATEMENT_MAX_MS
    const result = await withServerTimeout(limitMs, () => ask(readers, lane, query))
    // A connection has ended meanwhile: the query may have been answered by a server that has been restarted and is behind.
    if (position && replicaEpoch() !== epoch) return undefined
    reads.inc({ server: 'replica', reason: position ? 'replayed' : 'no_token' })
    return { result, asOf: replicaEpoch() === epoch && replayed ? formatToken(replayed) : undefined }
  } catch (error) {
    if (error instanceof ServiceError) throw error
    // A recovery conflict (40001) cancels one query; the replica itself is well.
    if (retryReason(error)) return undefined
    if (!isConnectionFailure(error) && !isCancelled(error)) throw toPublicError(error)
    const isSlow = isCancelled(error) || (isServerTimeout(error) && (await monitor.suspect()))
    // What a replica that is well can't answer in time would only burden the primary as well.
    if (isSlow) throw tooSlow(error)
    void monitor.suspect()
    return undefined
  }
}

async function onPrimary<Result>(lane: Lane, query: Query<Result>, reason: string): Promise<Result> {
  await primaryKnown()
  routing ??= openRouting()
  const readers = primaryReaders()
  try {
    const result =
      lane === 'scans'
        ? await withServerTimeout(SCAN_READ_MAX_MS, () => ask(readers, lane, query))
        : await routing.toPrimary[lane].execute(() =>
            withServerTimeout(PRIMARY_READ_MAX_MS, () => ask(readers, lane, query)),
          )
    reads.inc({ server: 'primary', reason })
    return result
  } catch (error) {
    if (isServerTimeout(error)) retirePrimaryReaders(readers)
    if (isConnectionFailure(error)) suspectPrimary()
    if (isCancelled(error)) throw tooSlow(error)
    if (!isBulkheadRejectedError(error)) throw toPublicError(error)
    throw overloaded('Too many reads wait for the primary database. Try again shortly.')
  }
}

function ask<Result>(readers: Readers, lane: Lane, query: Query<Result>): Promise<Result> {
  return lane === 'scans' ? inScan(readers.scans, query) : query(readers[lane])
}

function tooSlow(cause: unknown): ServiceError {
  const detail = 'To read this takes longer than it may. Ask for less, or try again shortly.'
  return overloaded(detail, cause)
}
