import { environment, overrideEnvironment } from '#config'
import { closeDatabase } from '#database'
import { auditStock } from '#stock'
import { type Connection, withConnection } from '../local/postgres/sql.ts'
import { waitUntil } from '../local/waits.ts'

/** Replay of the log since the last backup, at some 100 MB a second. */
const RECOVERY_MAX_MS = 30 * 60_000

/**
 * Waits until a server that recovers from the archive takes writes. That it answers means nothing: it does so as soon as it is consistent,
 * and ends later where a segment is missing. Throws with the end of its log.
 */
export async function waitForPromotion(server: {
  url: (database: string) => string
  pid: number | null
  logTail: () => Promise<string>
}): Promise<void> {
  const isPromoted = async () => {
    const rows = await withConnection(
      server.url('postgres'),
      (sql) => sql<Array<{ recovers: boolean }>>`select pg_is_in_recovery() as recovers`,
    ).catch(() => [])
    return rows[0]?.recovers === false
  }
  const isOver = await waitUntil(async () => server.pid === null || (await isPromoted()), RECOVERY_MAX_MS, 100)
  if (isOver && server.pid !== null) return
  const what = isOver
    ? 'The server ended during recovery'
    : `Recovery took more than ${RECOVERY_MAX_MS / 60_000} minutes`
  throw new Error(`${what}. Its log ends with:\n${await server.logTail()}`)
}

/** All that is wrong with a restored database, a sentence each. `superuserUrl` leads to it, and nobody else uses it yet. */
export async function checkRestored(superuserUrl: string, progress: (line: string) => void): Promise<string[]> {
  progress('checking every index and every page of every table')
  const damaged = await withConnection(superuserUrl, checkPages)
  progress('comparing balances with the ledger and the holds')
  return [...damaged, ...(await auditAt(superuserUrl))]
}

/** https://www.postgresql.org/docs/18/amcheck.html */
async function checkPages(sql: Connection): Promise<string[]> {
  await sql`create extension if not exists amcheck`
  const findings: string[] = []
  const indexes = await sql<Array<{ name: string; oid: number; isUnique: boolean }>>`
    select i.indexrelid::regclass::text as name, i.indexrelid::int as oid, i.indisunique as "isUnique"
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    where a.amname = 'btree' and c.relpersistence = 'p' and i.indisvalid`
  for (const { name, oid } of indexes) {
    // Also that each row of the table is in the index, and is found from the root.
    await sql`select bt_index_parent_check(${oid}::oid, true, true)`.catch((error: Error) => {
      findings.push(`index ${name}: ${error.message}`)
    })
  }
  const heap = await sql<Array<{ name: string; block: string; message: string }>>`
    select c.oid::regclass::text as name, found.blkno::text as block, found.msg as message
    from pg_class c cross join lateral verify_heapam(c.oid) as found
    where c.relkind in ('r', 'm', 't') and c.relpersistence = 'p' limit 100`
  findings.push(...heap.map(({ name, block, message }) => `table ${name}, block ${block}: ${message}`))
  if (indexes.length === 0) findings.push('there is no index: is this the right database?')
  return findings
}

/** Whether on hand is the sum of the ledger, and reserved that of the held reservations, as the service's own audit has it. */
async function auditAt(url: string): Promise<string[]> {
  const { DATABASE_URL, DATABASE_REPLICA_URL } = environment()
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: url, DATABASE_REPLICA_URL: undefined })
  try {
    const { consistent, checkedProducts, discrepancies } = await auditStock()
    if (checkedProducts === 0) return ['there is no product: is this the right database?']
    if (consistent) return []
    const { productId, location } = discrepancies[0] ?? {}
    return [
      `the stock of product ${productId} at ${location} is not what its ledger and holds say, and perhaps that of others`,
    ]
  } finally {
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL, DATABASE_REPLICA_URL })
  }
}
