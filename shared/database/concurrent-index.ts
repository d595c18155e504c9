import { ConfigError } from '#config'
import { leaseSnapshot } from './connections/connections.ts'
import { parseServerUrl } from './connections/servers/server-url.ts'
import { databaseSettings, serverUrls } from './connections/settings.ts'

const STATEMENT = /^create (?:unique )?index concurrently\b/i
const NAMED = /^create (?:unique )?index concurrently if not exists ([a-z0-9_]+) on [^;]+;?$/i

/**
 * The name of the index if a migration is a `create index concurrently`, which can't run in a transaction; undefined for any other migration.
 * Throws if the statement could not be repeated after a failure, or is not alone in its file.
 */
export function concurrentIndexIn(migration: string): string | undefined {
  const statement = migration.replaceAll(/^\s*--.*$/gm, '').trim()
  if (!STATEMENT.test(statement)) return undefined
  const name = NAMED.exec(statement)?.[1]
  if (name === undefined)
    throw new Error('an index is built by one `create index concurrently if not exists … on …`, in a file of its own')
  return name
}

/**
 * Builds an index while rows are read and written. First removes what a failed build has left behind: PostgreSQL keeps such an index, unfit for
 * use. Waits for transactions that began earlier, each for `waitMaxMs` at most. Throws a ConfigError behind a pooler, where sessions share their
 * settings.
 */
export async function buildIndex(name: string, statement: string, waitMaxMs: number): Promise<void> {
  const [url = ''] = serverUrls(databaseSettings().DATABASE_URL)
  if (parseServerUrl(url).isPooled)
    throw new ConfigError(
      `DATABASE_URL: must lead to PostgreSQL itself, not to a pooler, while the index ${name} is built`,
    )
  const lease = await leaseSnapshot()
  try {
    await lease.sql.unsafe(`set statement_timeout = 0; set lock_timeout = ${waitMaxMs}`)
    const [unfit] = await lease.sql`
      select from pg_index where indexrelid = to_regclass(${name}) and not indisvalid`
    if (unfit) await lease.sql.unsafe(`drop index concurrently ${name}`)
    await lease.sql.unsafe(statement)
  } finally {
    // Ends the session, together with its settings.
    lease.abandon()
    lease.release()
  }
}
