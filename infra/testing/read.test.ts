import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import {
  closeDatabase,
  primary,
  type RequestContext,
  read,
  readAsOf,
  readKey,
  responseState,
  type Sql,
  systemContext,
  transaction,
} from '#database'
import { renderMetrics } from '#telemetry'
import { openProxy, type TcpProxy } from '#testing/proxy'
import { type Pair, startPair, urlOfBoth } from '../../e2e/faults/postgres/replica-fixture.ts'

let pair: Pair
let proxy: TcpProxy

beforeAll(async () => {
  // The replica cancels queries at once if they conflict with a vacuum of the primary, and it does not delay that vacuum.
  pair = await startPair({ settings: { hot_standby_feedback: 'off', max_standby_streaming_delay: '0' } })
})
afterAll(() => pair.stop())

beforeEach(async () => {
  proxy = await openProxy(pair.replicaUrl)
  overrideEnvironment({ DATABASE_REPLICA_URL: proxy.url })
  await closeDatabase()
})
afterEach(async () => {
  await pair.onReplica((sql) => sql`select pg_wal_replay_resume()`)
  await proxy.close()
  await closeDatabase()
})

const contextWith = (token?: string): RequestContext => ({
  ...systemContext('function:test'),
  response: responseState(token),
})

async function whoAnswers(sql: Sql): Promise<'primary' | 'replica'> {
  const [row] = await sql<[{ isReplica: boolean }]>`select pg_is_in_recovery() as "isReplica"`
  return row.isReplica ? 'replica' : 'primary'
}

const pauseReplay = () => pair.onReplica((sql) => sql`select pg_wal_replay_pause()`)

/** Makes a write in `context`. It gets a token that a paused replica never reaches. */
const write = (context: RequestContext) =>
  transaction(context, async (tx) => tx`update locations set name = name || '.'`)

/** A standby refuses BEGIN. Then it also refuses this statement, for another reason: it is outside of a transaction. */
const lockFirst = async (tx: Sql) => tx`lock table locations in row exclusive mode`

async function metric(name: string): Promise<number> {
  const line = new RegExp(`^${name.replaceAll(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(await renderMetrics())
  return Number(line?.[1] ?? 0)
}

const replicaAgain = () =>
  vi.waitFor(async () => expect(await read(contextWith(), whoAnswers)).toBe('replica'), {
    timeout: 10_000,
    interval: 50,
  })

describe('a read', () => {
  it('is answered by the replica where the request has no token', async () => {
    expect(await read(contextWith(), whoAnswers)).toBe('replica')
  })

  it('that follows a write sees it, and so does one that brings its token: from the replica, once that has it', async () => {
    const context = contextWith()
    await transaction(context, async (tx) => tx`update locations set name = 'renamed'`)
    const nameAndServer = async (sql: Sql) =>
      sql`select name, pg_is_in_recovery() as "isReplica" from locations where code = 'main'`
    expect(await read(context, nameAndServer)).toEqual([{ name: 'renamed', isReplica: true }])
    expect(await read(contextWith(context.response.consistencyToken), nameAndServer)).toEqual([
      { name: 'renamed', isReplica: true },
    ])
  })

  it('is answered by the primary, soon, where the replica does not come to have what the client wrote', async () => {
    await pauseReplay()
    const context = contextWith()
    await write(context)
    const startedAt = performance.now()
    expect(await read(context, whoAnswers)).toBe('primary')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(150)
    expect(await read(contextWith(), whoAnswers)).toBe('replica')
  })

  it.each(['7-0/1', '0-0/1'])('is answered by the primary for a token of another timeline: %s', async (token) => {
    expect(await read(contextWith(token), whoAnswers)).toBe('primary')
  })

  it('refuses a token that is none, before it asks anyone', async () => {
    const query = vi.fn(whoAnswers)
    await expect(read(contextWith('junk'), query)).rejects.toMatchObject({ code: 'validation_failed' })
    expect(query).not.toHaveBeenCalled()
  })

  it('asks the primary for what the replica does not have', async () => {
    expect(await read(contextWith(), whoAnswers, (name) => name === 'replica')).toBe('primary')
    expect(await read(contextWith(), whoAnswers, (name) => name === 'primary')).toBe('replica')
  })

  it('is tried once more, on the primary, where the replica has to cancel it for what it replays', async () => {
    await primary().unsafe('create table vanishing as select 1 as value')
    const codes: string[] = []
    const query = vi.fn(async (sql: Sql) => {
      try {
        const [row] = await sql<[{ left: number; isReplica: boolean }]>`
          select count(value) as left, pg_is_in_recovery() as "isReplica"
          from (select value from vanishing, pg_sleep(case when pg_is_in_recovery() then 10 else 0 end)) as seen`
        return row
      } catch (error) {
        codes.push((error as { code: string }).code)
        throw error
      }
    })
    await replicaAgain()
    await vi.waitFor(() => pair.onReplica((sql) => sql`select from vanishing`))
    const reading = read(contextWith(), query)
    await vi.waitFor(async () => {
      const sleeping = pair.onReplica((sql) => sql`select from pg_stat_activity where wait_event = 'PgSleep'`)
      expect(await sleeping).toHaveLength(1)
    })
    await primary().unsafe('delete from vanishing')
    // The replica can't replay the vacuum while the query may see the row. Repeated in case a session on the primary still sees the row too.
    await vi.waitFor(async () => {
      await primary().unsafe('vacuum vanishing')
      expect(codes).toEqual(['40001'])
    })
    expect(await reading).toEqual({ left: 0, isReplica: false })
    expect(query).toHaveBeenCalledTimes(2)
    expect(await read(contextWith(), whoAnswers)).toBe('replica')
    await primary().unsafe('drop table vanishing')
  })

  it('gives a fault of the query as it is, from the replica too', async () => {
    const failing = read(contextWith(), (sql) => sql`select 1 / 0`)
    await expect(failing).rejects.toMatchObject({ code: '22012' })
    await expect(read(contextWith(), (sql) => sql`select nonsense`)).rejects.toThrow('nonsense')
  })

  it('is refused as unavailable while no server answers', async () => {
    const { DATABASE_URL } = environment()
    overrideEnvironment({ DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', DATABASE_REPLICA_URL: undefined })
    await closeDatabase()
    await expect(read(contextWith(), whoAnswers)).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 })
    overrideEnvironment({ DATABASE_URL })
  })

  it('tells what it covers: on the replica what that has replayed, on the primary what was committed before', async () => {
    const context = contextWith()
    await write(context)
    const covers = async (asOf: string, token = '') => {
      const [row] = await primary()<[{ isCovered: boolean }]>`
        select ${asOf.split('-')[1] ?? ''}::pg_lsn >= ${token.split('-')[1] ?? ''}::pg_lsn as "isCovered"`
      return row.isCovered
    }
    await vi.waitFor(async () => expect(await read(context, whoAnswers)).toBe('replica'))
    const fromReplica = await readAsOf(context, whoAnswers)
    expect(fromReplica.result).toBe('replica')
    expect(await covers(fromReplica.asOf, context.response.consistencyToken)).toBe(true)
    await pauseReplay()
    await write(context)
    const quiet = await readAsOf(context, whoAnswers)
    expect(quiet.result).toBe('primary')
    // Another commit with exactly the same token may not have been seen.
    expect(await covers(quiet.asOf, context.response.consistencyToken)).toBe(false)
    await write(contextWith())
    const later = await readAsOf(context, whoAnswers)
    expect(later.result).toBe('primary')
    expect(await covers(later.asOf, context.response.consistencyToken)).toBe(true)
  })
})

describe('where several servers are named', () => {
  it('a standby that comes first is not taken for the primary, by the first read or the first write', async () => {
    const { DATABASE_URL } = environment()
    overrideEnvironment({ DATABASE_URL: urlOfBoth(pair.replicaUrl, pair.primaryUrl), DATABASE_REPLICA_URL: undefined })
    await closeDatabase()
    expect(await read(contextWith('1-0/1'), whoAnswers)).toBe('primary')
    await closeDatabase()
    await write(contextWith())
    overrideEnvironment({ DATABASE_URL })
  })

  /** Provides two fixed addresses. At first, the primary is behind the first and the replica behind the second. */
  async function atTwoAddresses(work: (one: TcpProxy, other: TcpProxy) => Promise<void>): Promise<void> {
    const { DATABASE_URL } = environment()
    const [one, other] = [await openProxy(pair.primaryUrl), await openProxy(pair.replicaUrl)]
    try {
      overrideEnvironment({ DATABASE_URL: urlOfBoth(one.url, other.url), DATABASE_REPLICA_URL: undefined })
      await closeDatabase()
      expect(await read(contextWith(), whoAnswers)).toBe('primary')
      await work(one, other)
    } finally {
      await closeDatabase()
      overrideEnvironment({ DATABASE_URL })
      await Promise.all([one.close(), other.close()])
    }
  }

  const patiently = { timeout: 10_000, interval: 50 }

  it('one that was the primary and comes back as a standby is not read from nor written to, and the other is found', async () => {
    await atTwoAddresses(async (one, other) => {
      one.cut()
      other.cut()
      one.mend(pair.replicaUrl)
      // While there is no primary, no read is answered with the state of a standby.
      for (let round = 0; round < 10; round++) {
        await expect(read(contextWith(), whoAnswers)).rejects.toMatchObject({ code: 'unavailable' })
        await expect(transaction(contextWith(), lockFirst)).rejects.toMatchObject({ code: 'unavailable' })
      }
      other.mend(pair.primaryUrl)
      expect(await vi.waitFor(() => read(contextWith(), whoAnswers), patiently)).toBe('primary')
    })
  })

  it('the other is found too where the primary has gone silent, and nothing but single statements is asked of it', async () => {
    await atTwoAddresses(async (one, other) => {
      one.freeze()
      other.cut()
      other.mend(pair.primaryUrl)
      expect(await vi.waitFor(() => whoAnswers(primary()), patiently)).toBe('primary')
    })
  })
})

describe('the replica', () => {
  it('is left alone while it is down, and comes back by itself', async () => {
    await replicaAgain()
    proxy.cut()
    expect(await read(contextWith(), whoAnswers)).toBe('primary')
    await expect.poll(() => metric('database_replica_in_rotation'), { timeout: 3_000 }).toBe(0)
    proxy.mend()
    await replicaAgain()
    expect(await metric('database_replica_in_rotation')).toBe(1)
  })

  it('is left alone from the first read on where it was never there', async () => {
    proxy.cut()
    expect(await read(contextWith(), whoAnswers)).toBe('primary')
    proxy.mend()
    await replicaAgain()
  })

  it('is given up where it has gone silent, with the reads that wait for it', async () => {
    await replicaAgain()
    const removals = await metric('database_replica_removals_total{reason="unreachable"}')
    proxy.freeze()
    const startedAt = performance.now()
    const answers = await Promise.all(Array.from({ length: 50 }, () => read(contextWith(), whoAnswers)))
    expect(new Set(answers)).toContain('primary')
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    await vi.waitFor(
      async () => expect(await metric('database_replica_removals_total{reason="unreachable"}')).toBe(removals + 1),
      { timeout: 5_000, interval: 20 },
    )
    proxy.mend()
    await replicaAgain()
  })

  it('is not read from while it is too far behind in time, and its lag is told in bytes and seconds', async () => {
    overrideEnvironment({ DATABASE_REPLICA_LAG_MAX_MS: '800' })
    await closeDatabase()
    await replicaAgain()
    await pauseReplay()
    await write(contextWith())
    await vi.waitFor(async () => expect(await read(contextWith(), whoAnswers)).toBe('primary'), {
      timeout: 10_000,
      interval: 50,
    })
    expect(await metric('database_replica_lag_seconds')).toBeGreaterThan(0.8)
    expect(await metric('database_replica_lag_bytes')).toBeGreaterThan(0)
    await pair.onReplica((sql) => sql`select pg_wal_replay_resume()`)
    await replicaAgain()
    expect(await metric('database_replica_lag_seconds')).toBe(0)
    overrideEnvironment({ DATABASE_REPLICA_LAG_MAX_MS: undefined })
  })

  it('has its lag measured on another connection once the one for that has died', async () => {
    await replicaAgain()
    await pair.onReplica(
      (sql) => sql`
        select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`,
    )
    await pauseReplay()
    await write(contextWith())
    const lag = () => metric('database_replica_lag_bytes')
    await expect.poll(lag, { timeout: 10_000 }).toBeGreaterThan(0)
    await pair.onReplica((sql) => sql`select pg_wal_replay_resume()`)
    await expect.poll(lag, { timeout: 10_000 }).toBe(0)
  })

  it('is not asked for API keys while it is more than 2 s behind, whatever other reads may be', async () => {
    overrideEnvironment({ DATABASE_REPLICA_LAG_MAX_MS: '60000' })
    await closeDatabase()
    const whoFindsKey = () => readKey(whoAnswers, () => false)
    await replicaAgain()
    expect(await whoFindsKey()).toBe('replica')
    await pauseReplay()
    await write(contextWith())
    await vi.waitFor(async () => expect(await whoFindsKey()).toBe('primary'), { timeout: 10_000, interval: 50 })
    expect(await metric('database_replica_lag_seconds')).toBeGreaterThan(2)
    expect(await read(contextWith(), whoAnswers)).toBe('replica')
    await pair.onReplica((sql) => sql`select pg_wal_replay_resume()`)
    await vi.waitFor(async () => expect(await whoFindsKey()).toBe('replica'), { timeout: 10_000, interval: 50 })
    overrideEnvironment({ DATABASE_REPLICA_LAG_MAX_MS: undefined })
  })

  it('is not read from while it is too far behind in bytes', async () => {
    overrideEnvironment({ DATABASE_REPLICA_LAG_MAX_BYTES: '100000' })
    await closeDatabase()
    await replicaAgain()
    await pauseReplay()
    await primary().unsafe('create table ballast as select generate_series(1, 20000); drop table ballast')
    await vi.waitFor(async () => expect(await read(contextWith(), whoAnswers)).toBe('primary'), {
      timeout: 10_000,
      interval: 50,
    })
    overrideEnvironment({ DATABASE_REPLICA_LAG_MAX_BYTES: undefined })
  })
})

describe('many reads that wait for what they wrote', () => {
  it('share one question to the replica at a time, and all are served by it', async () => {
    await read(contextWith(), whoAnswers)
    // On a busy machine, one round may take longer than the reads wait before they go to the primary.
    await vi.waitFor(
      async () => {
        const context = contextWith()
        await pauseReplay()
        await write(context)
        const probesBefore = await metric('database_replica_probes_total')
        const waiting = () => read(contextWith(context.response.consistencyToken), whoAnswers)
        const answers = Array.from({ length: 500 }, waiting)
        await pair.onReplica((sql) => sql`select pg_wal_replay_resume()`)
        const servers = new Set(await Promise.all(answers))
        expect((await metric('database_replica_probes_total')) - probesBefore).toBeLessThan(50)
        expect(servers).toEqual(new Set(['replica']))
      },
      { timeout: 20_000 },
    )
  })

  it('reach a primary that stands in only so many at a time; what can’t wait there is refused at once', async () => {
    await read(contextWith(), whoAnswers)
    await pauseReplay()
    const context = contextWith()
    await write(context)
    let now = 0
    let most = 0
    const slow = async (sql: Sql) => {
      now++
      most = Math.max(most, now)
      await sql`select pg_sleep(0.01)`.finally(() => now--)
      return whoAnswers(sql)
    }
    const tokens = Array.from({ length: 2_000 }, () => read(contextWith(context.response.consistencyToken), slow))
    const withToken = Promise.allSettled(tokens)
    const without = Array.from({ length: 200 }, () => read(contextWith(), whoAnswers))
    expect(new Set(await Promise.all(without))).toEqual(new Set(['replica']))
    const settled = await withToken
    const served = settled.filter((result) => result.status === 'fulfilled')
    const refused = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    expect(new Set(served.map(({ value }) => value))).toEqual(new Set(['primary']))
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['overloaded']))
    expect(served.length).toBeGreaterThanOrEqual(540)
    expect(most).toBeLessThanOrEqual(40)
  })
})
