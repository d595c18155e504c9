import { afterEach, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, type Sql, systemContext, transaction } from '#database'
import { blocked, inRivalSession, sql } from '#testing'
import { openProxy, type TcpProxy } from '#testing/proxy'

const context = () => systemContext('function:test')
const add = (tx: Sql, code: string) => tx`insert into locations (code, name, priority) values (${code}, 'new', 1)`
const pidOf = async (tx: Sql) => (await tx<[{ pid: number }]>`select pg_backend_pid() as pid`)[0].pid
const terminate = (pid: number) => sql`select pg_terminate_backend(${pid})`
const codes = async () =>
  (await sql<Array<{ code: string }>>`select code from locations where code <> 'main' order by code`).map(
    (row) => row.code,
  )

afterEach(async () => {
  await sql`delete from locations where code <> 'main'`
})

async function expectRecovered() {
  const work = Array.from({ length: 30 }, (_, index) => transaction(context(), (tx) => add(tx, `after-${index}`)))
  await Promise.all(work)
  expect(await codes()).toHaveLength(30)
}

describe('a connection that is killed', () => {
  it('between two statements of a transaction undoes it, and no later statement runs outside of it', async () => {
    const failing = transaction(context(), async (tx) => {
      await add(tx, 'before')
      await terminate(await pidOf(tx))
      for (let attempt = 0; attempt < 20; attempt++) await add(tx, `after-${attempt}`).catch(() => {})
      await add(tx, 'last')
    })
    await expect(failing).rejects.toMatchObject({ code: 'unavailable', status: 503, retryAfterSeconds: 1 })
    expect(await codes()).toEqual([])
    await expectRecovered()
  })

  it('under a statement that waits takes the statements behind it along', async () => {
    await inRivalSession(async (rival) => {
      await rival`lock table locations in share row exclusive mode`
      const failing = expect(
        // The first statement waits while it is prepared, so the client keeps the second one back.
        transaction(context(), (tx) => Promise.all([add(tx, 'first'), tx`update locations set name = ${'changed'}`])),
      ).rejects.toMatchObject({ code: 'unavailable' })
      const [pid] = await blocked()
      await terminate(pid as number)
      await failing
    })
    // If the statement that was held back ran, it would need only a connection and a moment; a whole transaction takes longer.
    await transaction(context(), async (tx) => tx`lock table locations in share row exclusive mode`)
    expect(await sql`select name from locations where name = 'changed'`).toEqual([])
    expect(await codes()).toEqual([])
    await expectRecovered()
  })

  it('while it is idle costs at most the transaction that meets it', async () => {
    await transaction(context(), (tx) => add(tx, 'a'))
    await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`
    await vi.waitFor(() => transaction(context(), (tx) => add(tx, 'b')))
    expect(await codes()).toEqual(['a', 'b'])
  })
})

describe('closing the database', () => {
  it('lets a transaction in flight finish, and a later one opens a connection of its own', async () => {
    let closed: Promise<void> | undefined
    await transaction(context(), async (tx) => {
      await add(tx, 'before')
      closed = closeDatabase()
      await add(tx, 'while')
    })
    await closed
    await transaction(context(), (tx) => add(tx, 'after'))
    expect(await codes()).toEqual(['after', 'before', 'while'])
    // Neither the old connections nor their replacements are left behind.
    await vi.waitFor(async () => {
      const rows = await sql`
        select 1 from pg_stat_activity
        where datname = current_database() and application_name = 'stock-management' and pid <> pg_backend_pid()`
      expect(rows.length).toBeLessThanOrEqual(1)
    })
  })
})

describe('a network that fails', () => {
  let proxy: TcpProxy

  async function throughProxy(work: () => Promise<void>) {
    const url = environment().DATABASE_URL as string
    proxy = await openProxy(url)
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL: proxy.url })
    try {
      await work()
    } finally {
      await closeDatabase()
      overrideEnvironment({ DATABASE_URL: url })
      await proxy.close()
    }
  }

  it('when a transaction begins leaves none of its statements to run without it', async () => {
    await throughProxy(async () => {
      proxy.cut()
      const failing = transaction(context(), (tx) => Promise.all([add(tx, 'a'), add(tx, 'b'), add(tx, 'c')]))
      await expect(failing).rejects.toMatchObject({ code: 'unavailable' })
      proxy.mend()
      await transaction(context(), async (tx) => tx`lock table locations in share row exclusive mode`)
      expect(await codes()).toEqual([])
      await expectRecovered()
    })
  })

  it('by going silent is given up on after 12 s', async () => {
    await throughProxy(async () => {
      await transaction(context(), async () => 'connected')
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      const failing = transaction(context(), async (tx) => {
        await add(tx, 'a')
        proxy.freeze()
        await add(tx, 'b')
      })
      const failed = expect(failing).rejects.toMatchObject({ code: 'unavailable' })
      await vi.waitFor(() => vi.advanceTimersByTimeAsync(12_000).then(() => failed))
      vi.useRealTimers()
      proxy.mend()
      await expectRecovered()
    })
  })
})
