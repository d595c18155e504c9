import { fullJitter } from '#async'
import { arrayTypes } from './driver/array-types.ts'
import type { Sql } from './driver/driver.ts'
import { startupParameters } from './driver/session.ts'
import { createPool } from './pool/pool.ts'
import { parseServerUrl, type ServerUrl } from './servers/server-url.ts'

export type { Sql } from './driver/driver.ts'

interface ConnectOptions {
  max: number
  /** Called when a connection has dropped, or was closed because it was idle. */
  onclose?: () => void
  /** Keeps connections of any age, and never sends a statement twice: it may belong to a transaction. */
  holdsTransactions?: boolean
  /** Refuses a standby: statements fail as if the server could not be reached. */
  isPrimary?: boolean
  /** Default 10 s. */
  statementMaxMs?: number
  synchronousCommit?: string | undefined
}

/** A pool, whose connections open at their first use. */
export function connect(url: string, options: ConnectOptions): Sql {
  const {
    max,
    onclose,
    holdsTransactions = false,
    isPrimary = false,
    statementMaxMs = 10_000,
    synchronousCommit,
  } = options
  const server = parseServerUrl(url)
  return createPool(max, {
    ...addressOf(server),
    ofSingles: !holdsTransactions,
    connect_timeout: 5,
    idle_timeout: 60,
    // Seconds before another attempt to connect. The driver's own delays grow to 20 s, longer than a request waits for a server that has returned.
    backoff: (failures: number) => fullJitter(failures, { baseMs: 10, maxMs: 500 }) / 1_000,
    types: { bigint: { to: 20, from: [20], parse: Number, serialize: String }, ...arrayTypes },
    fetch_types: false,
    onnotice: () => {},
    ...(onclose && { onclose }),
    // The driver would close an old connection between two statements, even of one transaction.
    ...(holdsTransactions && { max_lifetime: null }),
    ...(isPrimary && { target_session_attrs: 'primary' as const }),
    connection: startupParameters(server, { statementMaxMs, synchronousCommit }),
  })
}

/** Where the driver finds the server. */
export function addressOf({ host, port, user, password, database, tls, isPooled }: ServerUrl) {
  return {
    host: [host],
    ...(host.startsWith('/') && { path: `${host}/.s.PGSQL.${port}` }),
    port: [port],
    user,
    database,
    // A function: the driver would replace an empty password by that of an environment variable.
    password: () => password,
    ssl: tls,
    // Behind a pooler, the next statement may run on another server connection, which has not prepared it.
    prepare: !isPooled,
  }
}
