import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { environment } from '#config'
import { sql as admin } from '#testing'
import { addressOf } from '../connect.ts'
import { createPool } from '../pool/pool.ts'
import { parseServerUrl } from '../servers/server-url.ts'
import type { Sql } from './driver.ts'
import { isOutdated } from './driver-mends.ts'

const opened: Sql[] = []

function open(max: number, ofSingles: boolean): Sql {
  const url = environment().DATABASE_URL ?? ''
  const sql = createPool(max, {
    ...addressOf(parseServerUrl(url)),
    ofSingles,
    fetch_types: false,
    onnotice: () => {},
  })
  opened.push(sql)
  return sql
}

const outcomeOf = (asked: PromiseLike<unknown>) =>
  Promise.resolve(asked).then(
    (rows) => rows,
    (error: Error) => error.message,
  )

const retype = (type: string) => admin.unsafe(`alter table things alter column name type ${type}`)

beforeEach(async () => {
  await admin.unsafe(`drop table if exists things; create table things (id int primary key, name text);
    insert into things select n, 'thing ' || n from generate_series(1, 100) n`)
})

afterEach(async () => {
  await Promise.all(opened.splice(0).map((sql) => sql.end({ timeout: 0 })))
})

describe('a session that the server ends', () => {
  it('fails what was on its way, and nothing that is asked afterwards', async () => {
    const sql = open(1, true)
    for (let turn = 0; turn < 3; turn++) {
      const [session] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`
      const ended = outcomeOf(sql`select pg_sleep(30)`)
      await expect
        .poll(async () => {
          const rows = await admin`
            select pg_terminate_backend(pid) from pg_stat_activity where pid = ${session.pid} and wait_event = 'PgSleep'`
          return rows.length
        })
        .toBe(1)
      expect(await ended).toMatch(/CONNECTION_CLOSED/)
      expect(await sql`select ${turn}::int as turn`).toEqual([{ turn }])
    }
  })
})

describe('a statement whose table has changed', () => {
  it('gets its own row, as do those that are on their way with it, however often the table changes', async () => {
    const sql = open(2, true)
    let asked = 0
    let changing = true
    const wrong: unknown[] = []
    const ask = async (worker: number) => {
      for (let turn = 0; changing; turn++) {
        const id = 1 + ((worker * 7 + turn) % 100)
        // Only a statement that meets two changes in a row fails.
        const [row] = await sql`select id, name from things where id = ${id}`.catch((error) => {
          if (!isOutdated(error)) throw error
          return [{ id, name: `thing ${id}` }]
        })
        asked++
        if (row?.id !== id || row.name !== `thing ${id}`) wrong.push({ id, row })
      }
    }
    const workers = Array.from({ length: 32 }, (_, worker) => ask(worker))
    for (const type of ['varchar(50)', 'text', 'varchar(60)', 'text', 'varchar(70)']) {
      const before = asked
      await retype(type)
      while (asked < before + 500) await sleep(1)
    }
    changing = false
    await Promise.all(workers)
    expect(wrong).toEqual([])
  })

  it('is run again where it is a transaction of its own, and fails alone where it is a part of one', async () => {
    for (const ofSingles of [true, false]) {
      const sql = open(1, ofSingles)
      const name = (id: number) => sql<Array<{ name: string }>>`select name from things where id = ${id}`
      const double = (n: number) => sql<Array<{ n: number }>>`select ${n}::int * 2 as n`
      await name(1)
      await double(1)
      await retype(ofSingles ? 'varchar(50)' : 'varchar(60)')
      const [first, changed, second] = await Promise.all([double(2), outcomeOf(name(3)), double(4)])
      expect([first, second]).toEqual([[{ n: 4 }], [{ n: 8 }]])
      expect(changed).toEqual(ofSingles ? [{ name: 'thing 3' }] : 'cached plan must not change result type')
      expect(await name(5)).toEqual([{ name: 'thing 5' }])
    }
  })

  it('is told from one that was wrong from the start', async () => {
    const sql = open(1, false)
    const write = (value: string) => sql`update things set name = ${value} where id = 1`
    await write('first')
    await retype('varchar(40)')
    await write('second')
    const wrong = await sql`insert into things (id) values (now())`.catch((error) => error)
    expect(wrong).toMatchObject({ code: '42804', serverRoutine: 'transformAssignedExpr' })
    expect(isOutdated(wrong)).toBe(false)
    await sql.unsafe('deallocate all')
    const gone = await write('third').catch((error) => error)
    expect(gone).toMatchObject({ code: '26000' })
    expect(isOutdated(gone)).toBe(true)
    expect((await write('fourth')).count).toBe(1)
  })
})

describe('an answer', () => {
  it('is whole behind one that has failed in its middle', async () => {
    const sql = open(1, true)
    const failing = sql`select 6 / (3 - n) as x from generate_series(1, 5) n`
    const [failed, rows] = await Promise.all([outcomeOf(failing), sql`select 'one' as x`])
    expect(failed).toBe('division by zero')
    expect([...rows]).toEqual([{ x: 'one' }])
  })

  it('is that of its own query where one beside it can not be sent', async () => {
    const sql = open(1, true)
    const echo = (text: string) => sql`select ${text}::text as text`
    const echoes = (texts: string[]) => sql`select ${texts}::text[] as texts`
    const time = (at: Date) => sql`select ${at}::timestamptz as at`
    const json = (value: object) => sql`select ${value as never}::jsonb as json`
    await Promise.all([echo('warm'), time(new Date()), json({})])
    const endless: { self?: object } = {}
    endless.self = endless
    const missing = undefined as unknown as string
    const answers = await Promise.all([
      outcomeOf(echo('a')),
      outcomeOf(echo(missing)),
      outcomeOf(echo('b')),
      outcomeOf(echoes(['c', missing])),
      outcomeOf(time(new Date(Number.NaN))),
      outcomeOf(json(endless)),
      outcomeOf(sql`${sql`select ${missing}::text`}`),
      outcomeOf(echo('d')),
    ])
    const undefinedParameter = 'a parameter of a statement is undefined'
    expect(answers).toEqual([
      [{ text: 'a' }],
      undefinedParameter,
      [{ text: 'b' }],
      undefinedParameter,
      expect.stringContaining('invalid input syntax for type timestamp'),
      'invalid input syntax for type json',
      undefinedParameter,
      [{ text: 'd' }],
    ])
  })

  it('is that of its own query where one that waits behind another is cancelled', async () => {
    const sql = open(1, true)
    const echo = (text: string) => sql`select ${text}::text as text, pg_sleep(0.05) is null as slept`
    await echo('warm')
    const queries = ['a', 'b', 'c'].map((text) => echo(text).execute())
    // The queries are written at the end of the event loop's turn.
    await sleep(20)
    queries[1]?.cancel()
    const answers = await Promise.all(queries)
    expect(answers.map(([row]) => row?.text)).toEqual(['a', 'b', 'c'])
  })
})
