import postgres from 'postgres'
import { arrayTypes } from './array-types.ts'

/** A connection's tagged template. `bigint` columns arrive as numbers: every one of ours stays below 2^53. */
export type Sql = postgres.Sql<{ bigint: number }>

interface ConnectOptions {
  max: number
  /** A connection has dropped, or was closed because it was idle. */
  onclose?: () => void
  /** Keeps a connection however old it is: the driver would end it between two statements, even of one transaction. */
  isKept?: boolean
  /** Refuses a server that is a standby: what is asked of it fails as if it could not be reached. */
  isPrimary?: boolean
  synchronousCommit?: string | undefined
}

/** A pool that connects when it is first used. */
export function connect(url: string, options: ConnectOptions): Sql {
  const { max, onclose, isKept = false, isPrimary = false, synchronousCommit } = options
  return postgres(url, {
    max,
    connect_timeout: 5,
    idle_timeout: 60,
    // Seconds before another attempt to connect. The driver's own grow to 20: longer than a request waits for a server that is back.
    backoff: (failures: number) => Math.random() * Math.min(0.5, 0.01 * 2 ** failures),
    types: { bigint: { to: 20, from: [20], parse: Number, serialize: String }, ...arrayTypes },
    fetch_types: false,
    onnotice: () => {},
    ...(onclose && { onclose }),
    ...(isKept && { max_lifetime: null }),
    ...(isPrimary && { target_session_attrs: 'primary' as const }),
    connection: {
      application_name: 'stock-management',
      // Bounds for a stuck client or a stuck query; a request's own time-out (5 s by default) is the tighter one.
      statement_timeout: 10_000,
      lock_timeout: 3_000,
      idle_in_transaction_session_timeout: 10_000,
      // What is asked for often is in memory, where a page found by index costs no more than the next one.
      random_page_cost: 1.1,
      jit: 'off',
      ...(synchronousCommit && { synchronous_commit: synchronousCommit }),
    },
  })
}
