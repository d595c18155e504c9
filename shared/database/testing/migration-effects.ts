import type { Sql } from '../connections/connect.ts'

/** The effects of a migration on others that use the database meanwhile. */
export interface MigrationEffects {
  /** Existing tables whose rows the migration reads, writes or copies while writers wait for it. */
  blocked: string[]
  /** Parts of the schema that the code of the previous version may still use, and that are now missing or changed. */
  missed: string[]
}

/** Runs a migration in the transaction that is open on `sql`, and returns its effects. */
export async function effectsOf(sql: Sql, migration: string): Promise<MigrationEffects> {
  const [scansBefore, shapeBefore] = [await scans(sql), await shape(sql)]
  await sql.unsafe(migration)
  const [scansAfter, shapeAfter] = [await scans(sql), await shape(sql)]
  const withheld = new Set(await withheldTables(sql))
  const blocked = [...scansBefore].filter(([table, count]) => withheld.has(table) && scansAfter.get(table) !== count)
  return {
    blocked: blocked.map(([table]) => table),
    missed: [...shapeBefore].filter((part) => !shapeAfter.has(part)).concat(newlyRequired(shapeBefore, shapeAfter)),
  }
}

/** How often each table has been scanned in this transaction: by a query, or to check, copy or index its rows, even if it has none. */
async function scans(sql: Sql): Promise<Map<string, number>> {
  const rows = await sql<Array<{ table: string; scans: number }>>`
    select relname as table, (seq_scan + coalesce(idx_scan, 0))::int as scans
    from pg_stat_xact_user_tables where schemaname = 'public' order by relname`
  return new Map(rows.map(({ table, scans }) => [table, scans]))
}

/** The tables that this transaction has locked against writers, or in which it may have locked rows: writers wait for its end. */
async function withheldTables(sql: Sql): Promise<string[]> {
  const rows = await sql<Array<{ table: string }>>`
    select distinct relname as table from pg_locks join pg_class on pg_class.oid = relation
    where pid = pg_backend_pid() and relkind = 'r' and mode in
      ('RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`
  return rows.map(({ table }) => table)
}

/** The tables, and the columns with their types. */
async function shape(sql: Sql): Promise<Set<string>> {
  const rows = await sql<Array<{ part: string }>>`
    select table_name as part from information_schema.tables where table_schema = 'public'
    union all
    select table_name || '.' || column_name || ' ' || data_type || case
        when is_nullable = 'NO' and column_default is null and is_identity = 'NO' and is_generated = 'NEVER' then ' required' else '' end
    from information_schema.columns where table_schema = 'public'
    order by part`
  return new Set(rows.map(({ part }) => part))
}

/** New columns of existing tables without which no row can be added any more. */
function newlyRequired(before: ReadonlySet<string>, after: ReadonlySet<string>): string[] {
  return [...after].filter(
    (part) => part.endsWith(' required') && !before.has(part) && before.has(part.slice(0, part.indexOf('.'))),
  )
}
