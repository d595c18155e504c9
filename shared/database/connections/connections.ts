import { jittered, type Loop, onShutdown, startLoop } from '#async'
import { logger } from '#telemetry'
import { connect, type Sql } from './connect.ts'
import { findPrimary } from './find-primary.ts'
import { createLeasePool, type Lease, type LeasePool } from './lease-pool.ts'
import { openReaders, type Readers } from './readers.ts'
import { withServerTimeout } from './server-timeout.ts'
import { parseServerUrl } from './server-url.ts'
import { databaseSettings, serverUrls } from './settings.ts'

/** Between two questions to the primary: half as much again or less, at random, so that processes don't ask in step. */
const ASK_MS = 1_000
const ANSWER_MAX_MS = 1_000
/** As long as a request may take: whoever asked has been told by then, and nobody waits any more. */
const PRIMARY_STATEMENT_MAX_MS = 5_000
/** Beyond what any statement for some rows takes, and short enough for the primary to be asked instead of one that is stuck. */
export const REPLICA_STATEMENT_MAX_MS = 2_000
const RETIRED_MAX_SECONDS = 10
/** Exports and audits of a process: they are the database's work for minutes, of which two are for a request and two for a job. */
const SNAPSHOTS_MAX = 4
/** One that waits is a job, which has the time, or an audit. */
const SNAPSHOT_WAIT_MS = 30_000

let writers: LeasePool | undefined
let snapshots: LeasePool | undefined
let toPrimary: Readers | undefined
let toReplica: Readers | undefined
let replicaProbes: Sql | undefined
let primaryUrl: string | undefined
/** The search for the primary that is under way. */
let searching: Promise<void> | undefined
/** Ends when the connections are closed: what was asked before that is of no use to those opened later. */
let session = new AbortController()
/** Asks whether the primary is there, where there are others that might be. */
let asking: Loop | undefined
/** The latest timeline that a primary was found on; 0 until one is. */
let timeline = 0
let epoch = 0

/** The server that is written to: the first that is named, until another is found to be the primary, which is looked for at once. */
function currentPrimary(): string {
  if (primaryUrl === undefined) {
    onShutdown(closeConnections)
    primaryUrl = serverUrls(databaseSettings().DATABASE_URL)[0] ?? ''
    suspectPrimary()
    // Without a second server there is nothing to be found.
    if (searching) asking = keepAsking()
  }
  return primaryUrl
}

/**
 * Asks the primary about once a second whether it is there. One that stands still, machine and all, fails nothing by itself until a
 * statement's time is up, and that is longer than a fail-over may take. One question at a time, however long it has no answer.
 */
function keepAsking(): Loop {
  let asked: Promise<unknown> | undefined
  return startLoop(
    async () => {
      asked ??= primary()`select 1`.finally(() => {
        asked = undefined
      })
      await withServerTimeout(ANSWER_MAX_MS, async () => asked).catch(suspectPrimary)
      return jittered(ASK_MS)
    },
    { firstPauseMs: jittered(ASK_MS), ref: false },
  )
}

/** Resolves once it is known which of several servers is the primary, or that none is for now; undefined where that is known. */
export function primaryKnown(): Promise<void> | undefined {
  currentPrimary()
  return timeline === 0 ? searching : undefined
}

/** Waits, at most 5 s, for a connection to the primary that nothing else uses. Throws `overloaded`. */
export async function leaseWriter(): Promise<Lease> {
  await primaryKnown()
  const { DATABASE_POOL_MAX: max, DATABASE_SYNCHRONOUS_COMMIT: synchronousCommit } = databaseSettings()
  writers ??= createLeasePool(currentPrimary(), { max, synchronousCommit })
  return writers.lease()
}

/** The same for long reads, of which the primary has no more than some at a time: what is sold does not wait for them. */
export async function leaseSnapshot(): Promise<Lease> {
  await primaryKnown()
  snapshots ??= createLeasePool(currentPrimary(), { max: SNAPSHOTS_MAX, waitMs: SNAPSHOT_WAIT_MS })
  return snapshots.lease()
}

/** Connections to the primary for single statements of some rows. */
export function primary(): Sql {
  return primaryReaders().rows
}

/** Connections to the primary for what changes nothing. */
export function primaryReaders(): Readers {
  toPrimary ??= openReaders(currentPrimary(), { isPrimary: true, statementMaxMs: PRIMARY_STATEMENT_MAX_MS })
  return toPrimary
}

/**
 * Has reads connect to the primary anew from now on, where one that was asked on `stalled` has had no answer: a connection may be
 * dead without a sign. Those that are in flight beside it may well be answered, and are let be.
 */
export function retirePrimaryReaders(stalled: Readers): void {
  if (toPrimary !== stalled) return
  toPrimary = undefined
  void stalled.end(RETIRED_MAX_SECONDS)
}

/**
 * Looks for the primary among the servers that are named, where there are several, because the one that was it has failed.
 * If another is found, all connections go there from now on, and what is in flight fails. One search runs at a time.
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
  logger().warn({ host }, `the primary is at ${host} now`)
  primaryUrl = url
  void toPrimary?.end(0)
  toPrimary = undefined
  writers?.moveTo(url)
  snapshots?.moveTo(url)
}

/** Connections to the replica; undefined where none is configured. */
export function replicaReaders(): Readers | undefined {
  const { DATABASE_REPLICA_URL } = databaseSettings()
  if (!DATABASE_REPLICA_URL) return undefined
  toReplica ??= openReaders(DATABASE_REPLICA_URL, { onclose: nextEpoch, statementMaxMs: REPLICA_STATEMENT_MAX_MS })
  return toReplica
}

/** A connection to the replica that no read is on: it tells how the replica is, however busy the others are. */
export function replicaForProbes(): Sql {
  const { DATABASE_REPLICA_URL } = databaseSettings()
  if (!DATABASE_REPLICA_URL) throw new Error('there is no replica to probe')
  replicaProbes ??= connect(DATABASE_REPLICA_URL, { max: 1, onclose: nextEpoch })
  return replicaProbes
}

/**
 * Changes whenever a connection to the replica ends: behind its address there may be another server from then on, one that
 * has not replayed what the one before had.
 */
export function replicaEpoch(): number {
  return epoch
}

function nextEpoch(): void {
  epoch++
}

/** Drops the replica's connections with whatever waits on them; the next use connects anew. */
export function resetReplica(): void {
  nextEpoch()
  void toReplica?.end(0)
  void replicaProbes?.end({ timeout: 0 })
  toReplica = undefined
  replicaProbes = undefined
}

export async function closeConnections(): Promise<void> {
  session.abort()
  session = new AbortController()
  void asking?.stop()
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
  primaryUrl = undefined
  searching = undefined
  asking = undefined
  timeline = 0
  await Promise.all(closing)
}
