import { expect, vi } from 'vitest'
import { environment } from '#config'
import { primary, type Sql } from '#database'
import { connect } from '../../../../shared/database/connections/connect.ts'
import './database-per-file.ts'

/** A statement on the test's database, in a transaction of its own. */
export const sql = Object.assign((strings: TemplateStringsArray, ...values: never[]) => primary()(strings, ...values), {
  unsafe: (text: string) => primary().unsafe(text),
}) as unknown as Sql

/** Runs `work` inside a transaction of another session, which holds its locks until `work` is done; it is rolled back unless `work` commits. */
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
 * Returns once `count` sessions of the test's database wait for a lock, with their process ids. `statement` is part of what they wait with,
 * for a test beside which something else may come to wait.
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

/** Fails if anything in the database is other after `work` than before; gives what `work` gives. */
export async function expectNoEffect<Result>(work: () => Promise<Result>): Promise<Result> {
  const before = await contents()
  const result = await work()
  expect(await contents()).toEqual(before)
  return result
}

/** The rows of every table, in one statement for all: some files ask hundreds of times. */
async function contents(): Promise<Record<string, string[]>> {
  const tables = await sql<Array<{ name: string }>>`select tablename as name from pg_tables where schemaname = 'public'`
  const rowsOf = tables.map(({ name }) => `select '${name}' as name, t::text as row from "${name}" as t`)
  const filled = await sql.unsafe<Array<{ name: string; rows: string[] }>>(
    `select name, array_agg(row order by row) as rows from (${rowsOf.join(' union all ')}) as rows group by name`,
  )
  return Object.fromEntries(filled.map(({ name, rows }) => [name, [...rows]]))
}
