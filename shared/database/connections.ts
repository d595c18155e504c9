import { logger } from '#telemetry'
import { connect, type Sql } from './connect.ts'
import { findPrimary } from './find-primary.ts'
import { databaseSettings, forgetSettings, serverUrls } from './settings.ts'
import { createWriters, type Lease } from './writers.ts'

let writers: ReturnType<typeof createWriters> | undefined
let primaryReader: Sql | undefined
let replicaReader: Sql | undefined
let primaryUrl: string | undefined
let isSearching = false
let epoch = 0

/** The server that is written to: the first that is named, until it fails and another is found to be the primary. */
function currentPrimary(): string {
  primaryUrl ??= serverUrls(databaseSettings().DATABASE_URL)[0] ?? ''
  return primaryUrl
}

/** Waits, at most 5 s, for a connection to the primary that nothing else uses. Throws `overloaded`. */
export function leaseWriter(): Promise<Lease> {
  const { DATABASE_POOL_MAX: max, DATABASE_SYNCHRONOUS_COMMIT: synchronousCommit } = databaseSettings()
  writers ??= createWriters(currentPrimary(), { max, synchronousCommit })
  return writers.lease()
}

/** Connections to the primary for single statements that change nothing. */
export function primary(): Sql {
  primaryReader ??= connect(currentPrimary(), { max: databaseSettings().DATABASE_POOL_MAX })
  return primaryReader
}

/**
 * Looks for the primary among the servers that are named, where there are several, because the one that was it has failed.
 * If another is found, all connections go there from now on, and what is in flight fails. One search runs at a time.
 */
export function suspectPrimary(): void {
  const urls = serverUrls(databaseSettings().DATABASE_URL)
  if (urls.length < 2 || isSearching) return
  isSearching = true
  void findPrimary(urls).then((found) => {
    isSearching = false
    if (found !== undefined && found !== currentPrimary()) moveTo(found)
  })
}

function moveTo(url: string): void {
  const { host } = new URL(url)
  logger().warn({ host }, `the primary is at ${host} now`)
  primaryUrl = url
  void primaryReader?.end({ timeout: 0 })
  primaryReader = undefined
  writers?.moveTo(url)
}

/** Connections to the replica; undefined where none is configured. */
export function replica(): Sql | undefined {
  const { DATABASE_REPLICA_URL, DATABASE_POOL_MAX: max } = databaseSettings()
  if (DATABASE_REPLICA_URL) replicaReader ??= connect(DATABASE_REPLICA_URL, { max, onclose: nextEpoch })
  return replicaReader
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
  void replicaReader?.end({ timeout: 0 })
  replicaReader = undefined
}

export async function closeConnections(): Promise<void> {
  const closing = [writers?.end(), primaryReader?.end({ timeout: 5 }), replicaReader?.end({ timeout: 5 })]
  writers = undefined
  primaryReader = undefined
  replicaReader = undefined
  primaryUrl = undefined
  forgetSettings()
  await Promise.all(closing)
}
