import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { logger } from '#telemetry'
import type { Sql } from './connections/connect.ts'
import { leaseWriter, primary } from './connections/connections.ts'
import type { Lease } from './connections/lease-pool.ts'
import { requireSupportedServer } from './connections/server-version.ts'
import { isLockTimeout } from './transactions/failures.ts'

const FILE_NAME = /^\d{4}_[a-z0-9_]+\.sql$/
/** Any fixed number, as long as nothing else in this database uses it: "stock" in ASCII, cut to 32 bits. */
const MIGRATION_LOCK = 0x746f636b

/**
 * A statement that waits for a table has everybody wait behind it who comes for that table later. So it waits for less than they do, who
 * give up after 3 s, and lets them pass before it comes again.
 */
const LOCK_WAIT_MS = 2_000
const LOOK_MS = 700
const PAUSE_MS = 2_000
/** The service itself keeps a table for 5 minutes at most, for an export. What keeps one longer needs somebody to look. */
const LOCK_TRIES_MS = 10 * 60_000

/**
 * Brings the schema to the newest version: every file in `migrations/`, in the order of its name, each in a transaction
 * of its own, once. Several processes may start at once: an advisory lock lets one work and the rest wait for it.
 * A file that needs a table which others use is tried again for `lockTriesMs`, and holds nobody up for longer than 2 s meanwhile.
 * Gives the names of the files it ran. Throws if a file that ran before is gone: the code is older than the database; a ConfigError
 * if the server is older than the code can use, or not what its URL says.
 */
export async function migrate(
  directory = new URL('./migrations/', import.meta.url),
  lockTriesMs = LOCK_TRIES_MS,
): Promise<string[]> {
  const lease = await leaseWriter()
  try {
    await requireSupportedServer(lease.sql)
    const files = (await readdir(directory)).filter((file) => FILE_NAME.test(file)).sort()
    const applied: string[] = []
    for (;;) {
      const file = await untilUnlocked(lease, lockTriesMs, () => applyNext(lease, directory, files))
      if (file === undefined) return applied
      applied.push(file)
    }
  } finally {
    // Ends the session, and a transaction with it that has failed.
    lease.abandon()
    lease.release()
  }
}

/** A file has waited for a lock as long as it may. */
class LockedOut extends Error {
  override readonly name = 'LockedOut'
  readonly holders: number[]

  constructor(file: string, holders: number[], cause: unknown) {
    const whose = holders.length > 0 ? `the sessions of pid ${holders.join(', ')} hold` : 'others hold'
    super(`${file} has not got a lock that ${whose}`, { cause })
    this.holders = holders
  }
}

/** Does `work`, and again while it is locked out, for `triesMs`. Throws the last LockedOut. */
async function untilUnlocked<Result>({ sql }: Lease, triesMs: number, work: () => Promise<Result>): Promise<Result> {
  const until = performance.now() + triesMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof LockedOut) || performance.now() >= until) throw error
      await sql.unsafe('rollback')
      logger().warn({ holders: error.holders }, `${error.message}; it is tried again until they end`)
      await sleep(PAUSE_MS * (0.5 + Math.random()))
    }
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
    await run(sql, missing, `${text};\ninsert into schema_migrations (name) values ('${missing}')`)
  }
  await sql.unsafe('commit')
  return missing
}

/** Throws LockedOut once a statement has waited too long. */
async function run(sql: Sql, file: string, text: string): Promise<void> {
  const [{ pid }] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`
  await sql.unsafe(`set local lock_timeout = ${LOCK_WAIT_MS}`)
  let holders: number[] = []
  // While it waits: afterwards nobody can tell for whom it did.
  const look = setInterval(async () => {
    const found = await holdersBefore(pid)
    if (found.length > 0) holders = found
  }, LOOK_MS)
  try {
    await sql.unsafe(text)
  } catch (error) {
    throw isLockTimeout(error) ? new LockedOut(file, holders, error) : error
  } finally {
    clearInterval(look)
  }
}

/** The sessions that a session waits for; none where that can't be found out. */
async function holdersBefore(pid: number): Promise<number[]> {
  const find = primary()<[{ pids: number[] }?]>`select pg_blocking_pids(${pid}) as pids`
  const [row] = await find.catch(() => [])
  return row?.pids ?? []
}
