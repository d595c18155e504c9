import { readdir, readFile } from 'node:fs/promises'
import type { Sql } from './connect.ts'
import { leaseWriter } from './connections.ts'
import { requireSupportedServer } from './server-version.ts'

const FILE_NAME = /^\d{4}_[a-z0-9_]+\.sql$/
/** Any fixed number, as long as nothing else in this database uses it: "stock" in ASCII, cut to 32 bits. */
const MIGRATION_LOCK = 0x746f636b

/**
 * Brings the schema to the newest version: every file in `migrations/`, in the order of its name, each in a transaction
 * of its own, once. Several processes may start at once: an advisory lock lets one work and the rest wait for it.
 * Gives the names of the files it ran. Throws if a file that ran before is gone: the code is older than the database; a ConfigError
 * if the server is older than the code can use.
 */
export async function migrate(directory = new URL('./migrations/', import.meta.url)): Promise<string[]> {
  const lease = await leaseWriter()
  const { sql } = lease
  try {
    await requireSupportedServer(sql)
    await sql.unsafe('set statement_timeout = 0; set lock_timeout = 0')
    await sql`select pg_advisory_lock(${MIGRATION_LOCK})`
    return await applyMissing(sql, directory)
  } finally {
    // Ends the session, and the lock with it.
    lease.abandon()
    lease.release()
  }
}

async function applyMissing(sql: Sql, directory: URL): Promise<string[]> {
  await sql`create table if not exists schema_migrations (name text primary key, applied_at timestamptz not null default now())`
  const rows = await sql<Array<{ name: string }>>`select name from schema_migrations`
  const applied = new Set(rows.map((row) => row.name))
  const files = (await readdir(directory)).filter((file) => FILE_NAME.test(file)).sort()
  const unknown = [...applied].filter((name) => !files.includes(name))
  if (unknown.length > 0) throw new Error(`the database is newer than this code: it has had ${unknown.join(', ')}`)
  const missing = files.filter((file) => !applied.has(file))
  for (const file of missing) {
    const text = await readFile(new URL(file, directory), 'utf8')
    await sql.unsafe(`begin;\n${text};\ninsert into schema_migrations (name) values ('${file}');\ncommit`)
  }
  return missing
}
