import postgres from 'postgres'

/** A connection's tagged template, for the few statements that set the servers up. */
export type Connection = postgres.Sql

/**
 * Opens one connection, passes it to `work` and closes it again. `server` is the server's address for a URL without one: a name, or the
 * folder of a Unix socket. Throws the errors of the work and of the connecting.
 */
export async function withConnection<Result>(
  url: string,
  work: (sql: Connection) => Promise<Result>,
  server: { host?: string; port?: number } = {},
): Promise<Result> {
  const sql = postgres(url, { ...server, max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => {} })
  try {
    return await work(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** The server is starting, shutting down, or has no free connection because clients were waiting for it. All of these are temporary. */
const PASSING_CODES = ['57P01', '57P02', '57P03', '53300']

/** True if the server answers a query. Throws if it refuses for a reason that waiting would not fix. */
export async function answers(url: string): Promise<boolean> {
  try {
    await withConnection(url, (sql) => sql`select 1`)
    return true
  } catch (error) {
    if (error instanceof postgres.PostgresError && !PASSING_CODES.includes(error.code)) throw error
    return false
  }
}
