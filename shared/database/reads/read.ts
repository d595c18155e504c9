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
import { isServerTimeout, withServerTimeout } from '../connections/driver/server-timeout.ts'
import type { Readers } from '../connections/readers.ts'
import { databaseSettings } from '../connections/settings.ts'
import { type RequestContext, systemContext } from '../request-context.ts'
import { isCancelled, isConnectionFailure, isDropped, retryReason, toPublicError } from '../transactions/failures.ts'
import { currentPosition, formatToken, justBefore, type LogPosition, parseToken } from '../transactions/token.ts'
import { boundOfPrimary } from './bound-of-primary.ts'
import { monitorReplica, type ReplicaMonitor } from './replica-monitor.ts'
import { inScan } from './scan.ts'

/** The server ends a statement, and a statement ahead of it on its connection, after 5 s each. This limit ends the wait for a silent server. */
const PRIMARY_READ_MAX_MS = 11_000
/** A scan's wait for a connection, its own time, and some slack. */
const SCAN_READ_MAX_MS = 7_000
/** For look-ups of API keys, whatever lag the settings allow: a revoked key must soon be refused. */
const KEY_LAG_MAX_MS = 2_000
/** How long a position of the primary's log is reused for reads without a token: the rows that they read can only be newer. */
const POSITION_MS = 100

const reads = counter('database_reads_total', 'Reads, by the server that answered and why.', ['server', 'reason'])

type Query<Result> = (sql: Sql) => Promise<Result>

/** The kind of a server's connections that a query uses. */
type Lane = 'rows' | 'keys' | 'scans'

interface Routing {
  monitor: ReplicaMonitor | undefined
  /** Bulkheads of the primary. Scans have a bound of their own on each server. */
  toPrimary: Record<Exclude<Lane, 'scans'>, ReturnType<typeof boundOfPrimary>>
  /** The last known end of the primary's log, and when it was read. */
  lastPosition: { position: LogPosition; at: number } | undefined
}

let routing: Routing | undefined

function openRouting(): Routing {
  // The connections register for the shutdown first, so that they are closed after the monitor that uses them.
  void primaryKnown()
  onShutdown(stopReading)
  const monitor = databaseSettings().DATABASE_REPLICA_URL === undefined ? undefined : monitorReplica()
  return { monitor, toPrimary: { rows: boundOfPrimary('rows'), keys: boundOfPrimary('keys') }, lastPosition: undefined }
}

/** Stops monitoring the replica. The next read starts anew. */
export function stopReading(): void {
  routing?.monitor?.stop()
  routing = undefined
}

/**
 * Runs a query that finds some rows by an index. It runs on the replica if the replica is in rotation and, for a request with a consistency token,
 * has replayed that far; else on the primary. `query` may run again, but never because it was slow. If `unless` holds for the replica's answer, the
 * query runs on the primary too: a missing row may only be late. Throws ServiceErrors only, except for defects: `overloaded` if too many reads wait
 * for the primary, or the query takes too long.
 *
 * @example
 * const product = await read(context, (sql) => findProduct(sql, id), (found) => found === undefined)
 */
export async function read<Result>(
  context: RequestContext,
  query: Query<Result>,
  unless: (result: Result) => boolean = () => false,
): Promise<Result> {
  return readBy('rows', context, query, unless)
}

/** The same for a query that may scan a table. Two such queries run at once on a server; the others wait, or are refused. */
export async function scan<Result>(context: RequestContext, query: Query<Result>): Promise<Result> {
  return readBy('scans', context, query, () => false)
}

/** The same for the look-up of an API key, on connections of its own. It uses no replica that lags by more than 2 s. */
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
  // With a token of the promoted server, the request's next read may use a replica.
  if (position) context.response.consistencyToken = formatToken(position)
  return result
}

/** Whether the request's token is from before a fail-over: then no replica is known to cover it. */
function hasOldTimeline({ response: { consistencyToken: token } }: RequestContext): boolean {
  const known = routing?.monitor?.replayed()
  return token !== undefined && known !== undefined && parseToken(token).timeline < known.timeline
}

/** Like `read`, but also returns a token that the answer covers: the answer may be newer, but not older. */
export async function readAsOf<Result>(
  context: RequestContext,
  query: Query<Result>,
  unless: (result: Result) => boolean = () => false,
): Promise<{ result: Result; asOf: string }> {
  const fromReplica = await onReplica('rows', context, query)
  if (fromReplica?.asOf && !unless(fromReplica.result)) return { result: fromReplica.result, asOf: fromReplica.asOf }
  const position = await primaryPosition(context)
  const result = await onPrimary('rows', query, fromReplica ? 'missing_on_replica' : 'not_replayed_or_down')
  // One byte less: a commit is in the log before it is visible, and with synchronous replication long before. A transaction that the query has not
  // seen has a token of at least this position, since its token is read after its commit.
  return { result, asOf: formatToken(justBefore(position)) }
}

/** The end of the primary's log. For a request without a token, the position may be up to 100 ms old. */
async function primaryPosition({ response }: RequestContext): Promise<LogPosition> {
  routing ??= openRouting()
  const { lastPosition } = routing
  const now = performance.now()
  if (response.consistencyToken === undefined && lastPosition && now - lastPosition.at < POSITION_MS)
    return lastPosition.position
  const [position] = await onPrimary('rows', (sql) => currentPosition(sql), 'position')
  if (routing) routing.lastPosition = { position, at: now }
  return position
}

/** The replica's answer; undefined if the primary has to answer instead. */
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
  // Read before the query, which sees this position or a later one.
  const replayed = monitor.replayed()
  const epoch = replicaEpoch()
  try {
    const limitMs = lane === 'scans' ? SCAN_READ_MAX_MS : REPLICA_STATEMENT_MAX_MS
    const result = await withServerTimeout(limitMs, () => ask(readers, lane, query))
    // If a connection has ended meanwhile, the answer may come from another server, which has replayed less.
    if (position && replicaEpoch() !== epoch) return undefined
    reads.inc({ server: 'replica', reason: position ? 'replayed' : 'no_token' })
    return { result, asOf: replicaEpoch() === epoch && replayed ? formatToken(replayed) : undefined }
  } catch (error) {
    if (error instanceof ServiceError) throw error
    // A recovery conflict (40001) cancels one query. The replica itself is healthy.
    if (retryReason(error)) return undefined
    if (!isConnectionFailure(error) && !isCancelled(error)) throw toPublicError(error)
    const isSlow = isCancelled(error) || (isServerTimeout(error) && (await monitor.suspect()))
    // A query that is too slow for a healthy replica would only burden the primary as well.
    if (isSlow) throw tooSlow(error)
    void monitor.suspect()
    return undefined
  }
}

/** Runs the query again, once, if its connection ends: it may have been dead for long, without this process knowing. */
async function onPrimary<Result>(
  lane: Lane,
  query: Query<Result>,
  reason: string,
  isRepeated = false,
): Promise<Result> {
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
    if (isDropped(error) && !isRepeated) return onPrimary(lane, query, reason, true)
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
