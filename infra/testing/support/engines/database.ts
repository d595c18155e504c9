import { expect, vi } from 'vitest'
import { environment } from '#config'
import { primary, type Sql } from '#database'
import { connect } from '../../../../shared/database/connections/connect.ts'
import './database-per-file.ts'

/** Runs a statement on the test's database, in its own transaction. */
export const sql = Object.assign((strings: TemplateStringsArray, ...values: never[]) => primary()(strings, ...values), {
  unsafe: (text: string) => primary().unsafe(text),
}) as unknown as Sql

/** Runs `work` in a transaction of another session. It holds its locks until `work` is done, and is rolled back unless `work` commits. */
export async function inRivalSession<Result>(work: (rival: Sql) => Promise<Result>): Promise<Result> {
  const rival = connect(environment().DATABASE_URL ?? '', { max: 1, holdsTransactions: true })
  try {
    await rival`begin`
    return await work(rival)
  } finally {
    await rival`rollback`
    await rival.end()
  }
}

/**
 * Waits until `count` sessions of the test's database wait for a lock, and returns their process ids. `statement` is a part of their
 * statement, for a test during which other sessions may wait too.
 */
export async function blocked(count = 1, statement = ''): Promise<number[]> {
  return vi.waitFor(
    async () => {
      const rows = await sql<Array<{ pid: number }>>`
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and strpos(query, ${statement}) > 0
        order by pid`
      expect(rows.length).toBeGreaterThanOrEqual(count)
      return rows.map((row) => row.pid)
    },
    { timeout: 20_000, interval: 5 },
  )
}

/** Fails if `work` changes anything in the database. Returns the result of `work`. */
export async function expectNoEffect<Result>(work: () => Promise<Result>): Promise<Result> {
  const before = await contents()
  const result = await work()
  expect(await contents()).toEqual(before)
  return result
}

/** Returns the rows of every table. Uses one statement for all tables, since some files call this hundreds of times. */
async function contents(): Promise<Record<string, string[]>> {
  const tables = await sql<Array<{ name: string }>>`select tablename as name from pg_tables where schemaname = 'public'`
  const rowsOf = tables.map(({ name }) => `select '${name}' as name, t::text as row from "${name}" as t`)
  const filled = await sql.unsafe<Array<{ name: string; rows: string[] }>>(
    `select name, array_agg(row order by row) as rows from (${rowsOf.join(' union all ')}) as rows group by name`,
  )
  return Object.fromEntries(filled.map(({ name, rows }) => [name, [...rows]]))
}
