import { setTimeout as delay } from 'node:timers/promises'
import { type PostgresServer, StartFailed } from './postgres-server.ts'
import { type Connection, withConnection } from './sql.ts'

export const DATABASE = 'stock'
export const SLOT = 'replica'

/** A replica that does not stream by then is copied again, which takes seconds. */
const STREAMING_MS = 60_000

/**
 * Makes the database, and the slot that keeps WAL for the replica while it is away. Returns whether the replica can still follow: false
 * if the slot was lost because it held back more WAL than allowed.
 */
export async function preparePrimary(primary: PostgresServer, hasReplica: boolean): Promise<boolean> {
  return withConnection(primary.url('postgres'), async (sql) => {
    const [database] = await sql`select 1 from pg_database where datname = ${DATABASE}`
    if (!database) await sql`create database ${sql(DATABASE)}`
    return hasReplica ? ensureSlot(sql) : dropSlot(sql)
  })
}

async function ensureSlot(sql: Connection): Promise<boolean> {
  const [slot] = await sql`select wal_status from pg_replication_slots where slot_name = ${SLOT}`
  if (slot?.wal_status === 'lost') await dropSlot(sql)
  else if (slot) return true
  // Reserves WAL at once: before the replica's first connection, a checkpoint could remove WAL that the replica needs.
  await sql`select pg_create_physical_replication_slot(${SLOT}, true)`
  // If there never was a slot, that says nothing about the replica: only its own attempt to stream tells.
  return slot === undefined
}

/** Drops the slot: without a replica, nothing would ever read the WAL that the slot keeps. */
async function dropSlot(sql: Connection): Promise<boolean> {
  await sql`select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = ${SLOT}`
  return true
}

/**
 * Starts the replica and waits until it streams. Returns why it can't follow the primary any more, or undefined if it follows. Throws
 * only errors that a new copy would not fix.
 */
export async function startFollowing(replica: PostgresServer, signal: AbortSignal): Promise<string | undefined> {
  try {
    await replica.start()
  } catch (error) {
    if (!(error instanceof StartFailed) || /Address already in use/.test(error.message)) throw error
    return error.message
  }
  const deadline = performance.now() + STREAMING_MS
  while (replica.pid !== null && performance.now() < deadline) {
    if (await isStreaming(replica)) return undefined
    const hopeless = hopelessLine(await replica.logTail(100))
    if (hopeless) return hopeless
    await delay(50, undefined, { signal })
  }
  return replica.pid === null ? `it ended: ${await replica.logTail()}` : 'it did not reach the stream within a minute'
}

async function isStreaming(replica: PostgresServer): Promise<boolean> {
  const rows = await withConnection(
    replica.url('postgres'),
    (sql) => sql`select 1 from pg_stat_wal_receiver where status = 'streaming'`,
  ).catch(() => [])
  return rows.length > 0
}

/** The messages that a replica logs, again and again, if the WAL that it needs is gone from the primary or was never there. */
const HOPELESS = [
  /requested WAL segment \S+ has already been removed/,
  /can no longer access replication slot/,
  /highest timeline \d+ of the primary is behind recovery timeline \d+/,
  /requested starting point \S+ (on timeline \d+ is not in this server's history|is ahead of the WAL flush position)/,
  /database system identifier differs between the primary and standby/,
  /new timeline \d+ forked off current database system timeline \d+ before current recovery point/,
]

function hopelessLine(log: string): string | undefined {
  return log.split('\n').find((line) => HOPELESS.some((pattern) => pattern.test(line)))
}
