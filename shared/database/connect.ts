import { arrayTypes } from './array-types.ts'
import { createClient, type Sql } from './driver.ts'

export type { Sql } from './driver.ts'

interface ConnectOptions {
  max: number
  /** A connection has dropped, or was closed because it was idle. */
  onclose?: () => void
  /** Its statements may belong together: a connection is kept however old it is, and no statement is sent again. */
  holdsTransactions?: boolean
  /** Refuses a server that is a standby: what is asked of it fails as if it could not be reached. */
  isPrimary?: boolean
  /** Default 10 s. */
  statementMaxMs?: number
  synchronousCommit?: string | undefined
}

/** A pool that connects when it is first used. */
export function connect(url: string, options: ConnectOptions): Sql {
  const {
    max,
    onclose,
    holdsTransactions = false,
    isPrimary = false,
    statementMaxMs = 10_000,
    synchronousCommit,
  } = options
  return createClient(url, {
    ofSingles: !holdsTransactions,
    max,
    connect_timeout: 5,
    idle_timeout: 60,
    // Seconds before another attempt to connect. The driver's own grow to 20: longer than a request waits for a server that is back.
    backoff: (failures: number) => Math.random() * Math.min(0.5, 0.01 * 2 ** failures),
    types: { bigint: { to: 20, from: [20], parse: Number, serialize: String }, ...arrayTypes },
    fetch_types: false,
    onnotice: () => {},
    ...(onclose && { onclose }),
    // The driver would end one that is old between two statements, even of one transaction.
    ...(holdsTransactions && { max_lifetime: null }),
    ...(isPrimary && { target_session_attrs: 'primary' as const }),
    connection: {
      application_name: 'stock-management',
      // Bounds for a stuck client or a stuck query; a request's own time-out (5 s by default) is the tighter one.
      statement_timeout: statementMaxMs,
      lock_timeout: 3_000,
      idle_in_transaction_session_timeout: 10_000,
      // What is asked for often is in memory, where a page found by index costs no more than the next one.
      random_page_cost: 1.1,
      jit: 'off',
      ...(synchronousCommit && { synchronous_commit: synchronousCommit }),
    },
  })
}
