import type { Sql } from '../connections/connect.ts'
import type { LeasePool } from '../connections/pool/lease-pool.ts'

/** A search among 400,000 products takes some milliseconds, or 0.6 s if the matches come last: see decision 21. */
const SCAN_MAX_MS = 3_000
/** A page takes several statements, each with that limit. After this time, the connection is cut. */
const TRANSACTION_MAX_MS = 5_000

/**
 * Runs a query that may scan a table, in a read-only transaction on a connection of its own. The server itself ends a statement that takes too
 * long: unlike a request to cancel, this can't hit another statement, and needs no working client. Throws `overloaded` if too many scans wait.
 */
export async function inScan<Result>(scans: LeasePool, query: (sql: Sql) => Promise<Result>): Promise<Result> {
  const lease = await scans.lease()
  const watchdog = setTimeout(lease.abandon, TRANSACTION_MAX_MS)
  try {
    // Sent ahead of the query, which fails if these statements fail. Custom plans, because the number of matches depends on the parameters.
    lease.sql
      .unsafe(`
        begin isolation level read committed read only;
        set local statement_timeout = ${SCAN_MAX_MS};
        set local plan_cache_mode = force_custom_plan`)
      .catch(() => {})
    return await query(lease.sql)
  } finally {
    clearTimeout(watchdog)
    if (!lease.isLost()) await lease.sql.unsafe('rollback').catch(() => {})
    lease.release()
  }
}
