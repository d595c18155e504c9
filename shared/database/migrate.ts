import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { logger } from '#telemetry'
import { buildIndex, concurrentIndexIn } from './concurrent-index.ts'
import type { Sql } from './connections/connect.ts'
import { leaseWriter, primary } from './connections/connections.ts'
import type { Lease } from './connections/pool/lease-pool.ts'
import { requireSupportedServer } from './connections/servers/server-version.ts'
import { isLockedOut } from './transactions/failures.ts'

const FILE_NAME = /^\d{4}_[a-z0-9_]+\.sql$/
/** A fixed number that no other advisory lock of this database uses: "stock" in ASCII, cut to 32 bits. */
const MIGRATION_LOCK = 0x746f636b

/**
 * A statement that waits for a lock on a table blocks all later ones on that table. So it waits for less than their 3 s, and lets them pass before
 * it tries again.
 */
const LOCK_WAIT_MS = 2_000
const HOLDERS_MS = 700
const PAUSE_MS = 2_000
/** The service itself locks a table for 5 minutes at most, for an export. A longer lock needs an operator. */
const LOCK_TRIES_MS = 10 * 60_000
/** Time between two checks whether another process has finished its file. */
const TURN_MS = 200

const FOLDER = new URL('./migrations/', import.meta.url)

/** The names of this release's migrations, in their order. */
export async function migrationFiles(directory = FOLDER): Promise<string[]> {
  return (await readdir(directory)).filter((file) => FILE_NAME.test(file)).sort()
}

/**
 * Migrates the schema to the newest version. Runs every file in `migrations/` once, in the order of their names, each in a transaction of its own,
 * except a file that is a `create index concurrently`. Several processes may call it at once: an advisory lock lets one work while the others wait.
 * A file that needs a locked table is retried for `lockTriesMs`, and blocks other statements for 2 s at most each time. Returns the names of the
 * files that it ran. Throws if the database has a file that the code lacks, since the code is then older. Throws a ConfigError if the server is too
 * old, or is not what its URL says.
 */
export async function migrate(directory = FOLDER, lockTriesMs = LOCK_TRIES_MS): Promise<string[]> {
  const lease = await leaseWriter()
  try {
    await requireSupportedServer(lease.sql)
    const files = await migrationFiles(directory)
    const applied: string[] = []
    for (;;) {
      const file = await untilUnlocked(lease, lockTriesMs, () => applyNext(lease, directory, files))
      if (file === undefined) return applied
      applied.push(file)
    }
  } finally {
    // Ends the session, and a failed transaction with it.
    lease.abandon()
    lease.release()
  }
}

/** A file could not get a lock in time. */
class LockedOut extends Error {
  override readonly name = 'LockedOut'
  readonly holders: number[]

  constructor(file: string, holders: number[], cause: unknown) {
    const whose = holders.length > 0 ? `the sessions of pid ${holders.join(', ')} hold` : 'others hold'
    super(`${file} could not get a lock that ${whose}`, { cause })
    this.holders = holders
  }
}

/** Runs `work`, and runs it again while it is locked out, for `triesMs`. Throws the last LockedOut. */
async function untilUnlocked<Result>({ sql }: Lease, triesMs: number, work: () => Promise<Result>): Promise<Result> {
  const until = performance.now() + triesMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof LockedOut) || performance.now() >= until) throw error
      await sql.unsafe('rollback')
      logger().warn({ holders: error.holders }, `${error.message}; it will be tried again`)
      await sleep(PAUSE_MS * (0.5 + Math.random()))
    }
  }
}

/**
 * Runs the first missing file, and returns its name; undefined if none is missing. The lock belongs to the transaction, since a pooler has no
 * sessions.
 */
async function applyNext({ sql, opening }: Lease, directory: URL, files: string[]): Promise<string | undefined> {
  await beginTurn({ sql, opening })
  await sql`create table if not exists schema_migrations (name text primary key, applied_at timestamptz not null default now())`
  const rows = await sql<Array<{ name: string }>>`select name from schema_migrations`
  const applied = new Set(rows.map((row) => row.name))
  const unknown = [...applied].filter((name) => !files.includes(name))
  if (unknown.length > 0) throw new Error(`the database is newer than this code: it has had ${unknown.join(', ')}`)
  const missing = files.find((file) => !applied.has(file))
  if (missing !== undefined) {
    const text = await readFile(new URL(missing, directory), 'utf8')
    const index = concurrentIndexIn(text)
    if (index) {
      // A simple statement ends the portal of the last one, whose snapshot the building of the index would wait for.
      await sql.unsafe('select 1')
      await buildIndex(index, text, LOCK_TRIES_MS)
    }
    await run(sql, missing, `${index ? '' : `${text};\n`}insert into schema_migrations (name) values ('${missing}')`)
  }
  await sql.unsafe('commit')
  return missing
}

/**
 * Begins a transaction that holds the migrations' lock. It waits by trying again: a statement that waits in the server keeps a snapshot there, and
 * the index that the lock's holder may be building would wait for that snapshot.
 */
async function beginTurn({ sql, opening }: Pick<Lease, 'sql' | 'opening'>): Promise<void> {
  for (;;) {
    await sql.unsafe(`${opening}; set local statement_timeout = 0; set local lock_timeout = 0;
      set local idle_in_transaction_session_timeout = 0`)
    const [{ isOurs }] = await sql<
      [{ isOurs: boolean }]
    >`select pg_try_advisory_xact_lock(${MIGRATION_LOCK}) as "isOurs"`
    if (isOurs) return
    await sql.unsafe('rollback')
    await sleep(TURN_MS)
  }
}

/** Throws LockedOut once a statement has waited too long, or in a deadlock. */
async function run(sql: Sql, file: string, text: string): Promise<void> {
  const [{ pid }] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`
  await sql.unsafe(`set local lock_timeout = ${LOCK_WAIT_MS}`)
  let holders: number[] = []
  // Found during the wait: afterwards the holders are unknown.
  const finding = setInterval(async () => {
    const found = await holdersBefore(pid)
    if (found.length > 0) holders = found
  }, HOLDERS_MS)
  try {
    await sql.unsafe(text)
  } catch (error) {
    throw isLockedOut(error) ? new LockedOut(file, holders, error) : error
  } finally {
    clearInterval(finding)
  }
}

/** The sessions that block a session; empty if they are unknown. */
async function holdersBefore(pid: number): Promise<number[]> {
  const find = primary()<[{ pids: number[] }?]>`select pg_blocking_pids(${pid}) as pids`
  const [row] = await find.catch(() => [])
  return row?.pids ?? []
}
