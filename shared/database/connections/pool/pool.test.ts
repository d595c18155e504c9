import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { environment } from '#config'
import { sql as admin } from '#testing'
import { addressOf } from '../connect.ts'
import type { Sql } from '../driver/driver.ts'
import { parseServerUrl } from '../servers/server-url.ts'
import { createPool } from './pool.ts'

let pool: Sql

function open(size: number): Sql {
  const address = addressOf(parseServerUrl(environment().DATABASE_URL ?? ''))
  pool = createPool(size, { ...address, ofSingles: true, fetch_types: false, onnotice: () => {} })
  return pool
}

const processOf = async (asked: PromiseLike<Array<{ pid: number }>>) => (await asked)[0]?.pid
const slow = (sql: Sql, seconds: number) =>
  sql<Array<{ pid: number }>>`select pg_backend_pid() as pid from (select pg_sleep(${seconds})) as slept`
const fast = (sql: Sql) => sql<Array<{ pid: number }>>`select pg_backend_pid() as pid`

afterEach(() => pool.end({ timeout: 0 }))

describe('createPool', () => {
  it('sends queries that come one after another over one connection, and those at the same time over as many as it may', async () => {
    const sql = open(3)
    const alone = new Set<unknown>()
    for (let turn = 0; turn < 10; turn++) alone.add(await processOf(fast(sql)))
    expect(alone.size).toBe(1)
    const together = await Promise.all(Array.from({ length: 9 }, () => processOf(slow(sql, 0.05))))
    const counts = [...new Set(together)].map((pid) => together.filter((other) => other === pid).length)
    expect(counts).toEqual([3, 3, 3])
  })

  it('sends nothing behind a slow query while another connection has less to do', async () => {
    const sql = open(2)
    const blocked = await Promise.all([processOf(slow(sql, 0)), processOf(slow(sql, 0))])
    const sleeping = slow(sql, 30)
    const slept = sleeping.catch((error: { code: string }) => error.code)
    const used = new Set<unknown>()
    for (let turn = 0; turn < 20; turn++) used.add(await processOf(fast(sql)))
    expect(used.size).toBe(1)
    expect(blocked).toContain([...used][0])
    // A request to cancel that comes before the query has begun cancels nothing.
    await expect
      .poll(() =>
        admin`select 1 from pg_stat_activity where pid = any(${blocked.map(Number)}::int[]) and wait_event = 'PgSleep'`.then(
          ({ count }) => count,
        ),
      )
      .toBe(1)
    sleeping.cancel()
    expect(await slept).toBe('57014')
    await sql`select 1`
  })

  it('counts a query that fails as answered, on a connection that drops too', async () => {
    const sql = open(2)
    const failed = await Promise.all(
      Array.from({ length: 40 }, () => sql`select 1 / 0`.catch((error: { code: string }) => error.code)),
    )
    expect(new Set(failed)).toEqual(new Set(['22012']))
    const pids = await Promise.all([processOf(slow(sql, 0.05)), processOf(slow(sql, 0.05))])
    const dropped = [slow(sql, 30), slow(sql, 30)].map((query) => query.catch((error: { code: string }) => error.code))
    for (const pid of pids) {
      await expect
        .poll(() =>
          admin`select pg_terminate_backend(${pid ?? 0}) from pg_stat_activity where pid = ${pid ?? 0}
        and wait_event = 'PgSleep'`.then(({ count }) => count),
        )
        .toBe(1)
    }
    expect(await Promise.all(dropped)).toHaveLength(2)
    const anew = await Promise.all(Array.from({ length: 8 }, () => processOf(slow(sql, 0.05))))
    const counts = [...new Set(anew)].map((pid) => anew.filter((other) => other === pid).length)
    expect(counts).toEqual([4, 4])
  })

  it('gives up a query that waits for its turn on whichever connection has it, when it ends', async () => {
    const sql = open(2)
    const waiting = Array.from({ length: 6 }, () => slow(sql, 30).catch((error: { code: string }) => error.code))
    await sleep(200)
    await sql.end({ timeout: 0 })
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['CONNECTION_DESTROYED']))
    expect(await fast(sql).catch((error: { code: string }) => error.code)).toBe('CONNECTION_ENDED')
  })

  it('searches no line that grows with the queries that were sent', async () => {
    const sql = open(4)
    await Promise.all(Array.from({ length: 4 }, () => slow(sql, 0.05)))
    const { indexOf } = Array.prototype
    let longest = 0
    Array.prototype.indexOf = function (...args) {
      longest = Math.max(longest, this.length)
      return indexOf.apply(this, args)
    }
    try {
      for (let turn = 0; turn < 300; turn++) await fast(sql)
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          for (let turn = 0; turn < 100; turn++) await fast(sql)
        }),
      )
    } finally {
      Array.prototype.indexOf = indexOf
    }
    expect(longest).toBeLessThan(20)
  })
})
