import type { Sql } from '../connections/connect.ts'
import { leaseSnapshot } from '../connections/connections.ts'
import { toPublicError } from '../transactions/failures.ts'

/** A longer snapshot would keep so many dead rows from vacuum that other statements slow down. */
const SNAPSHOT_MAX_MS = 300_000
/** A chunk of a long read may take longer than a request's statement. */
const STATEMENT_MAX_MS = 60_000

/**
 * Runs `work` on one snapshot of the primary, read-only: all of its statements see the same moment. It waits for one of a few connections that are
 * only for snapshots, and is cut off after 5 minutes. Throws ServiceErrors only, except for defects.
 *
 * @example
 * const levels = await snapshot((sql) => sql`select product_id, on_hand from stock_levels`)
 */
export async function snapshot<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result> {
  const lease = await leaseSnapshot()
  const watchdog = setTimeout(lease.abandon, SNAPSHOT_MAX_MS)
  try {
    await lease.sql.unsafe(`
      ${lease.opening}; set transaction isolation level repeatable read read only;
      set local statement_timeout = ${STATEMENT_MAX_MS};
      set local idle_in_transaction_session_timeout = ${STATEMENT_MAX_MS}`)
    return await work(lease.sql)
  } catch (error) {
    throw toPublicError(error)
  } finally {
    clearTimeout(watchdog)
    // Fails only if the connection is lost, and the transaction with it.
    if (!lease.isLost()) await lease.sql.unsafe('rollback').catch(() => {})
    lease.release()
  }
}
