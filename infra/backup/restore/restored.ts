import { auditStock } from '#stock'
import { type Connection, withConnection } from '../../local/postgres/sql.ts'
import { waitUntil } from '../../local/waits.ts'
import { atDatabase } from './at-database.ts'

/** Enough to replay the WAL since the last backup, at some 100 MB a second. */
const RECOVERY_MAX_MS = 30 * 60_000

/**
 * Waits until a server that recovers from the archive accepts writes. An answer alone means nothing: the server answers once it is
 * consistent, and ends later if a segment is missing. Throws an error with the end of its log.
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

/** Returns a sentence for each problem of the restored database at `superuserUrl`. Nobody else uses that database yet. */
export async function checkRestored(superuserUrl: string, progress: (line: string) => void): Promise<string[]> {
  progress('checking every index and every page of every table')
  const damaged = await withConnection(superuserUrl, checkPages)
  progress('comparing balances with the ledger and the holds')
  const unbalanced = await auditAt(superuserUrl).catch(({ message }: Error) => [
    `the stock can't be audited: ${message}`,
  ])
  return [...damaged, ...unbalanced]
}

/** The most findings for one table. On a page that is not a table page, there would be one for each row. */
const FINDINGS_MAX = 10

/** https://www.postgresql.org/docs/18/amcheck.html */
async function checkPages(sql: Connection): Promise<string[]> {
  await sql`create extension if not exists amcheck`
  // In a cluster from an older server, the extension lacks the functions that this version has added.
  await sql`alter extension amcheck update`
  return [...(await checkTables(sql)), ...(await checkIndexes(sql))]
}

/** Checks rows in the tables and values stored outside of them (TOAST). An unreadable page ends only the check of its table. */
async function checkTables(sql: Connection): Promise<string[]> {
  const findings: string[] = []
  const tables = await sql<Array<{ name: string; oid: number }>>`
    select oid::regclass::text as name, oid::int as oid from pg_class
    where relkind in ('r', 'm', 't') and relpersistence = 'p'`
  for (const { name, oid } of tables) {
    const found = sql<Array<{ block: string; message: string }>>`
      select blkno::text as block, msg as message from verify_heapam(${oid}::oid, check_toast => true) limit ${FINDINGS_MAX}`
    await found.then(
      (rows) => findings.push(...rows.map(({ block, message }) => `table ${name}, block ${block}: ${message}`)),
      (error: Error) => findings.push(`table ${name}: ${error.message}`),
    )
  }
  return findings
}

/** GIN indexes can be checked since PostgreSQL 18, but only for their own order, not for whether they contain each row. */
async function checkIndexes(sql: Connection): Promise<string[]> {
  const findings: string[] = []
  const [{ hasGinCheck }] = await sql<[{ hasGinCheck: boolean }]>`
    select to_regprocedure('gin_index_check(regclass)') is not null as "hasGinCheck"`
  const indexes = await sql<Array<{ name: string; oid: number; method: string }>>`
    select i.indexrelid::regclass::text as name, i.indexrelid::int as oid, a.amname as method
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    where (a.amname = 'btree' or a.amname = 'gin' and ${hasGinCheck}) and c.relpersistence = 'p' and i.indisvalid`
  for (const { name, oid, method } of indexes) {
    // For a B-tree, also checks that it contains each row of the table, and that each row is found from the root.
    const check =
      method === 'gin'
        ? sql`select gin_index_check(${oid}::oid)`
        : sql`select bt_index_parent_check(${oid}::oid, true, true)`
    await check.catch((error: Error) => {
      findings.push(`index ${name}: ${error.message}`)
    })
  }
  if (indexes.length === 0) findings.push('there is no index: is this the right database?')
  return findings
}

/** Checks with the service's own audit that on hand is the sum of the ledger, and that reserved is the sum of the held reservations. */
async function auditAt(url: string): Promise<string[]> {
  const { consistent, checkedProducts, discrepancies } = await atDatabase(url, auditStock)
  if (checkedProducts === 0) return ['there is no product: is this the right database?']
  if (consistent) return []
  const { productId, location } = discrepancies[0] ?? {}
  return [
    `the stock of product ${productId} at ${location} is not what its ledger and holds say, and perhaps that of others`,
  ]
}
