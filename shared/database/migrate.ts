import { readdir, readFile } from 'node:fs/promises'
import { leaseWriter } from './connections.ts'
import { requireSupportedServer } from './server-version.ts'
import type { Lease } from './writers.ts'

const FILE_NAME = /^\d{4}_[a-z0-9_]+\.sql$/
/** Any fixed number, as long as nothing else in this database uses it: "stock" in ASCII, cut to 32 bits. */
const MIGRATION_LOCK = 0x746f636b

/**
 * Brings the schema to the newest version: every file in `migrations/`, in the order of its name, each in a transaction
 * of its own, once. Several processes may start at once: an advisory lock lets one work and the rest wait for it.
 * Gives the names of the files it ran. Throws if a file that ran before is gone: the code is older than the database; a ConfigError
 * if the server is older than the code can use, or not what its URL says.
 */
export async function migrate(directory = new URL('./migrations/', import.meta.url)): Promise<string[]> {
  const lease = await leaseWriter()
  try {
    await requireSupportedServer(lease.sql)
    const files = (await readdir(directory)).filter((file) => FILE_NAME.test(file)).sort()
    const applied: string[] = []
    for (;;) {
      const file = await applyNext(lease, directory, files)
      if (file === undefined) return applied
      applied.push(file)
    }
  } finally {
    // Ends the session, and a transaction with it that has failed.
    lease.abandon()
    lease.release()
  }
}

/** Runs the first of the files that is missing, and gives its name; undefined where none is. The lock is the transaction's: a pooler has no sessions. */
async function applyNext({ sql, opening }: Lease, directory: URL, files: string[]): Promise<string | undefined> {
  await sql.unsafe(`${opening}; set local statement_timeout = 0; set local lock_timeout = 0;
    set local idle_in_transaction_session_timeout = 0`)
  await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`
  await sql`create table if not exists schema_migrations (name text primary key, applied_at timestamptz not null default now())`
  const rows = await sql<Array<{ name: string }>>`select name from schema_migrations`
  const applied = new Set(rows.map((row) => row.name))
  const unknown = [...applied].filter((name) => !files.includes(name))
  if (unknown.length > 0) throw new Error(`the database is newer than this code: it has had ${unknown.join(', ')}`)
  const missing = files.find((file) => !applied.has(file))
  if (missing !== undefined) {
    const text = await readFile(new URL(missing, directory), 'utf8')
    await sql.unsafe(`${text};\ninsert into schema_migrations (name) values ('${missing}')`)
  }
  await sql.unsafe('commit')
  return missing
}
