import type { Sql } from '../connections/connect.ts'
import type { LeasePool } from '../connections/lease-pool.ts'

/** A search among 400,000 products takes some milliseconds, and 0.6 s where those that match come last: decision 21. */
const SCAN_MAX_MS = 3_000
/** A page is read in some statements, each with that time; past this the connection is cut, whatever it does. */
const TRANSACTION_MAX_MS = 5_000

/**
 * Runs a query that may look through a table, in a transaction that can't write, on a connection that nothing else is on. The server
 * itself ends a statement that takes too long: that can't hit another's, as a request to cancel could, and needs no working client.
 * Throws `overloaded` where too many are under way.
 */
export async function inScan<Result>(scans: LeasePool, query: (sql: Sql) => Promise<Result>): Promise<Result> {
  const lease = await scans.lease()
  const watchdog = setTimeout(lease.abandon, TRANSACTION_MAX_MS)
  try {
    // Travels ahead of the query, which fails if it does. Planned each time: how many rows match depends on what is searched for.
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
