import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { closeDatabase, type RequestContext, read, readKey, type Sql, scan, snapshot, systemContext } from '#database'
import { getProduct } from '#products'
import { hold, newProduct, sql } from '#testing'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { type Pair, startPair } from './replica-fixture.ts'

// Reads that take too long must not affect others: neither the servers, once nobody waits for the read, nor concurrent reads.

let pair: Pair
beforeAll(async () => {
  pair = await startPair()
}, 120_000)
afterAll(() => pair.stop())

const context = (): RequestContext => systemContext('function:test')

/** Returns how many statements sleep on the server at `url` at this moment. */
function sleeping(url: string): Promise<number> {
  return withConnection(url, async (connection) => {
    const rows = await connection`
      select 1 from pg_stat_activity where state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid()`
    return rows.length
  })
}

const sleepFor = (seconds: number) => async (sql: Sql) => {
  await sql`select pg_sleep(${seconds})`
  return 'slept'
}

/** Returns the most statements that slept at once on each server until `work` was over. */
async function mostSleeping<Result>(
  work: Promise<Result>,
): Promise<{ result: Result; primary: number; replica: number }> {
  let isOver = false
  const most = { primary: 0, replica: 0 }
  const watching = (async () => {
    while (!isOver) {
      most.primary = Math.max(most.primary, await sleeping(pair.primaryUrl))
      most.replica = Math.max(most.replica, await sleeping(pair.replicaUrl))
      await sleep(20)
    }
  })()
  try {
    return { result: await work, ...most }
  } finally {
    isOver = true
    await watching
  }
}

describe.each([
  ['a replica', true],
  ['the primary alone', false],
])('on %s', (_, hasReplica) => {
  const server = () => (hasReplica ? pair.replicaUrl : pair.primaryUrl)

  beforeEach(async () => {
    await closeDatabase()
    overrideEnvironment({ DATABASE_REPLICA_URL: hasReplica ? pair.replicaUrl : undefined })
    await read(context(), (sql) => sql`select 1`)
    await vi.waitFor(async () => expect(await sleeping(server())).toBe(0), { timeout: 10_000 })
  })

  it.each([
    ['rows', read],
    ['scans', scan],
  ])('a read of %s that takes too long is refused, ended there, and not begun again elsewhere', async (_, ask) => {
    const { result, primary, replica } = await mostSleeping(
      ask(context(), sleepFor(30)).catch((error: unknown) => error),
    )
    expect(result).toMatchObject({ code: 'overloaded', retryAfterSeconds: 1 })
    expect([primary, replica]).toEqual(hasReplica ? [0, 1] : [1, 0])
    await vi.waitFor(async () => expect(await sleeping(server())).toBe(0), { timeout: 1_000 })
  })

  it('leaves the reads beside it alone', async () => {
    const slow = read(context(), sleepFor(30)).catch((error: unknown) => error)
    const beside = Array.from({ length: 30 }, async (_, index) => {
      await sleep(index * 50)
      const [row] = await read(context(), (sql) => sql<Array<{ n: number }>>`select ${index}::int as n, pg_sleep(0.3)`)
      return row?.n
    })
    // Reads that were sent after it on the same connection wait for just as long.
    const answers = await Promise.allSettled(beside)
    expect(await slow).toMatchObject({ code: 'overloaded' })
    const wrong = answers.filter((answer, index) => answer.status === 'fulfilled' && answer.value !== index)
    expect(wrong).toEqual([])
    expect(answers.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(20)
  })

  it('runs two scans at a time, and keeps reservations, products and keys going meanwhile', async () => {
    const { id } = await newProduct({ initialStock: 1_000 })
    const scans = Promise.allSettled(Array.from({ length: 60 }, () => scan(context(), sleepFor(1))))
    const { result, primary, replica } = await mostSleeping(scans)
    expect(Math.max(primary, replica)).toBe(2)
    const refused = result.filter((answer) => answer.status === 'rejected')
    expect(refused.length).toBeGreaterThan(50)
    for (const answer of refused) expect(answer).toMatchObject({ reason: { code: 'overloaded' } })

    const again = Promise.allSettled(Array.from({ length: 40 }, () => scan(context(), sleepFor(1))))
    const times: number[] = []
    for (let turn = 0; turn < 20; turn++) {
      const startedAt = performance.now()
      await hold([{ productId: id, quantity: 1 }])
      await getProduct(id, context())
      await readKey(
        async (sql) => sql`select 1 from api_keys`,
        () => false,
      )
      times.push(performance.now() - startedAt)
    }
    await again
    expect(times.sort((a, b) => a - b)[10]).toBeLessThan(500)
  })

  it('counts exports and audits apart from what is sold', async () => {
    const long = Array.from({ length: 4 }, () => snapshot(sleepFor(2)))
    await vi.waitFor(async () => expect(await sleeping(pair.primaryUrl)).toBe(4), { timeout: 5_000 })
    const fifth = snapshot(sleepFor(0))
    const { id } = await newProduct({ initialStock: 10 })
    await hold([{ productId: id, quantity: 1 }])
    expect(await sleeping(pair.primaryUrl)).toBe(4)
    expect(await Promise.all([...long, fifth])).toEqual(Array(5).fill('slept'))
  })
})

it('a scan can not write', async () => {
  await expect(scan(context(), async (tx) => tx`delete from products`)).rejects.toThrow()
  expect((await sql`select 1 from products`).length).toBeGreaterThan(0)
})
