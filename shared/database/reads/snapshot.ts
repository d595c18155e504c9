import type { Sql } from '../connections/connect.ts'
import { leaseSnapshot } from '../connections/connections.ts'
import { toPublicError } from '../transactions/failures.ts'

/** Longer, and the rows that it keeps from being vacuumed would slow down everybody else. */
const SNAPSHOT_MAX_MS = 300_000
/** A chunk of a long read may take longer than a request's statement. */
const STATEMENT_MAX_MS = 60_000

/**
 * Runs `work` over one unchanging view of the primary: each of its statements sees the same moment. It can't write, waits for one of
 * a few connections for this alone, and is cut off after 5 minutes. Throws ServiceErrors only, but for defects.
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
    // Fails only where the connection is gone, and the transaction with it.
    if (!lease.isLost()) await lease.sql.unsafe('rollback').catch(() => {})
    lease.release()
  }
}
