import type { Sql } from '../connect.ts'
import { primaryReaders, retirePrimaryReaders } from '../connections.ts'
import { isServerTimeout, withServerTimeout } from '../driver/server-timeout.ts'

/** The server ends a statement after 5 s. This limit ends the wait for a silent server. */
const ANSWER_MAX_MS = 6_000

/**
 * The result of a query on some rows of the primary, for work that no request asked for: relays, schedules, consumers, measurements. After 6 s
 * without an answer, it throws the error of a server that can't be reached, and the next query uses new connections: the old one may be dead
 * without a sign.
 *
 * @example
 * const rows = await askPrimary((sql) => sql`select from outbox limit 1`)
 */
export async function askPrimary<Result>(query: (sql: Sql) => PromiseLike<Result>): Promise<Result> {
  const readers = primaryReaders()
  try {
    return await withServerTimeout(ANSWER_MAX_MS, async () => query(readers.rows))
  } catch (error) {
    if (isServerTimeout(error)) retirePrimaryReaders(readers)
    throw error
  }
}
