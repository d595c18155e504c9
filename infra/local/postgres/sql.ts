import postgres from 'postgres'

/** A connection's tagged template, for the few statements that set the servers up. */
export type Connection = postgres.Sql

/**
 * Opens one connection, hands it over and closes it again. `server` is where that is, for a URL that does not say so: a name, or the folder of a
 * socket. Throws what the work or the connecting throws.
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

/** Starting up, shutting down, or full up with the connections of clients that were waiting for it: all of it passes. */
const PASSING_CODES = ['57P01', '57P02', '57P03', '53300']

/** True when the server answers a query. Throws when it refuses for a reason that waiting would not mend. */
export async function answers(url: string): Promise<boolean> {
  try {
    await withConnection(url, (sql) => sql`select 1`)
    return true
  } catch (error) {
    if (error instanceof postgres.PostgresError && !PASSING_CODES.includes(error.code)) throw error
    return false
  }
}
