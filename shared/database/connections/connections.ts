import { jittered, type Loop, onShutdown, startLoop } from '#async'
import { logger } from '#telemetry'
import { connect, type Sql } from './connect.ts'
import { withServerTimeout } from './driver/server-timeout.ts'
import { createLeasePool, type Lease, type LeasePool } from './pool/lease-pool.ts'
import { openReaders, type Readers } from './readers.ts'
import { findPrimary } from './servers/find-primary.ts'
import { parseServerUrl } from './servers/server-url.ts'
import { databaseSettings, serverUrls } from './settings.ts'

/** Time between two checks of the primary, varied at random by up to half, so that processes do not check in step. */
const CHECK_MS = 1_000
const ANSWER_MAX_MS = 1_000
/** As long as a request may take: nothing waits for the answer after that. */
const PRIMARY_STATEMENT_MAX_MS = 5_000
/** More than any look-up by index takes, and little enough to leave time for the primary. */
export const REPLICA_STATEMENT_MAX_MS = 2_000
const RETIRED_MAX_SECONDS = 10
/** Exports and audits that a process runs at once. They keep the database busy for minutes: two for requests and two for jobs. */
const SNAPSHOTS_MAX = 4
/** Only jobs and audits wait for such a connection, and they have the time. */
const SNAPSHOT_WAIT_MS = 30_000

let writers: LeasePool | undefined
let snapshots: LeasePool | undefined
let toPrimary: Readers | undefined
let toReplica: Readers | undefined
let replicaProbes: Sql | undefined
/** How often reads have turned to another server of DATABASE_REPLICA_URL. */
let replicaTurns = 0
let primaryUrl: string | undefined
/** The search for the primary that is under way. */
let searching: Promise<void> | undefined
/** Aborted when the connections are closed: the results of earlier searches are ignored. */
let session = new AbortController()
/** Checks the primary if DATABASE_URL names other servers. */
let checks: Loop | undefined
/** The latest timeline of a primary that was found; 0 before the first one. */
let timeline = 0
let epoch = 0

/** The URL of the server to write to. It is the first of DATABASE_URL until the search, which the first call starts, finds another. */
function currentPrimary(): string {
  if (primaryUrl === undefined) {
    onShutdown(closeConnections)
    primaryUrl = serverUrls(databaseSettings().DATABASE_URL)[0] ?? ''
    suspectPrimary()
    // Only if there is a second server.
    if (searching) checks = checkPrimary()
  }
  return primaryUrl
}

/**
 * Queries the primary about once a second, one query at a time, however long its answer takes. Without these checks, a primary whose machine hangs
 * would be noticed only at a statement's time-out, which is longer than a fail-over may take.
 */
function checkPrimary(): Loop {
  let asked: Promise<unknown> | undefined
  return startLoop(
    async () => {
      asked ??= primary()`select 1`.finally(() => {
        asked = undefined
      })
      await withServerTimeout(ANSWER_MAX_MS, async () => asked).catch(suspectPrimary)
      return jittered(CHECK_MS)
    },
    { firstPauseMs: jittered(CHECK_MS), ref: false },
  )
}

/** Resolves when the first search has ended, whether it has found the primary or not; undefined after that. */
export function primaryKnown(): Promise<void> | undefined {
  currentPrimary()
  return timeline === 0 ? searching : undefined
}

/** Waits, at most 5 s, for a connection to the primary that nothing else uses. Throws `overloaded`. */
export async function leaseWriter(): Promise<Lease> {
  await primaryKnown()
  const { DATABASE_POOL_MAX: max, DATABASE_SYNCHRONOUS_COMMIT: synchronousCommit } = databaseSettings()
  writers ??= createLeasePool(currentPrimary(), { name: 'writes', max, synchronousCommit, isPrimary: true })
  return writers.lease()
}

/** The same for long reads, in a small pool of their own, so that reservations do not wait for them. Waits at most 30 s. */
export async function leaseSnapshot(): Promise<Lease> {
  await primaryKnown()
  const waiting = { max: SNAPSHOTS_MAX, waitMs: SNAPSHOT_WAIT_MS }
  snapshots ??= createLeasePool(currentPrimary(), { name: 'snapshots', ...waiting, isPrimary: true })
  return snapshots.lease()
}

/** Connections to the primary for single statements on some rows. */
export function primary(): Sql {
  return primaryReaders().rows
}

/** Connections to the primary for reads. */
export function primaryReaders(): Readers {
  toPrimary ??= openReaders(currentPrimary(), { isPrimary: true, statementMaxMs: PRIMARY_STATEMENT_MAX_MS })
  return toPrimary
}

/**
 * Makes later reads open new connections to the primary, after a read on `stalled` got no answer: a connection may be dead without a sign. Other
 * reads in flight on the old connections get 10 s to finish.
 */
export function retirePrimaryReaders(stalled: Readers): void {
  if (toPrimary !== stalled) return
  toPrimary = undefined
  void stalled.end(RETIRED_MAX_SECONDS)
}

/**
 * Searches the servers of DATABASE_URL for the primary, if there are several, because the current one has failed. If it finds another, all
 * connections move there, and statements in flight fail. One search runs at a time.
 */
export function suspectPrimary(): void {
  if (primaryUrl === undefined || searching) return
  const urls = serverUrls(databaseSettings().DATABASE_URL)
  if (urls.length < 2) return
  const { signal } = session
  searching = findPrimary(urls, timeline).then((found) => {
    if (signal.aborted) return
    searching = undefined
    if (found === undefined) return
    timeline = found.timeline
    if (found.url !== primaryUrl) moveTo(found.url)
  })
}

function moveTo(url: string): void {
  const { host } = parseServerUrl(url)
  logger().warn({ host }, `primary changed to ${host}`)
  primaryUrl = url
  void toPrimary?.end(0)
  toPrimary = undefined
  writers?.moveTo(url)
  snapshots?.moveTo(url)
}

/** The URL of the server to read from: one of DATABASE_REPLICA_URL. */
function currentReplica(): string | undefined {
  const { DATABASE_REPLICA_URL } = databaseSettings()
  if (!DATABASE_REPLICA_URL) return undefined
  const urls = serverUrls(DATABASE_REPLICA_URL)
  return urls[replicaTurns % urls.length]
}

/** Connections to the replica; undefined if none is configured. */
export function replicaReaders(): Readers | undefined {
  if (toReplica) return toReplica
  const url = currentReplica()
  if (url === undefined) return undefined
  toReplica = openReaders(url, { onclose: nextEpoch, statementMaxMs: REPLICA_STATEMENT_MAX_MS })
  return toReplica
}

/** A connection to the replica for probes only: they are answered however busy the other connections are. */
export function replicaForProbes(): Sql {
  if (replicaProbes) return replicaProbes
  const url = currentReplica()
  if (url === undefined) throw new Error('there is no replica to probe')
  replicaProbes = connect(url, { max: 1, onclose: nextEpoch })
  return replicaProbes
}

/**
 * Changes whenever a connection to the replica ends. After that, the replica's address may lead to another server, which has not replayed as much.
 */
export function replicaEpoch(): number {
  return epoch
}

function nextEpoch(): void {
  epoch++
}

/**
 * Drops the replica's connections and the statements on them. The next use opens new connections, to the next server of DATABASE_REPLICA_URL if
 * that names several.
 */
export function resetReplica(): void {
  nextEpoch()
  replicaTurns++
  void toReplica?.end(0)
  void replicaProbes?.end({ timeout: 0 })
  toReplica = undefined
  replicaProbes = undefined
}

export async function closeConnections(): Promise<void> {
  session.abort()
  session = new AbortController()
  void checks?.stop()
  const closing = [
    writers?.end(),
    snapshots?.end(),
    toPrimary?.end(5),
    toReplica?.end(5),
    replicaProbes?.end({ timeout: 5 }),
  ]
  writers = undefined
  snapshots = undefined
  toPrimary = undefined
  toReplica = undefined
  replicaProbes = undefined
  replicaTurns = 0
  primaryUrl = undefined
  searching = undefined
  checks = undefined
  timeline = 0
  await Promise.all(closing)
}
