import { setTimeout as sleep } from 'node:timers/promises'
import { startRedis } from '../../../infra/local/engines/redis.ts'
import { closeLater } from '../closing.ts'
import { httpContender } from '../contenders/contenders.ts'
import { startFunction, startReserveStock } from '../contenders/servers.ts'
import { runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'
import { API_KEY, type Arena, type Site } from '../site.ts'

/** A token of a timeline that never was: the primary has to answer. */
const FROM_PRIMARY = { 'consistency-token': '0-0/1' }
const PERCENT_FROM_PRIMARY = 5
/** What everybody looks at. */
const PRODUCTS = 1_000
const STATISTICS_MS = 500

/**
 * What a replica takes off the primary, and what it costs to wait for it: transactions on the primary for each thousand reads, of
 * which 5 % insist on the primary; and reservations whose commits wait until the replica shows them.
 */
export async function measureReplica(
  site: Site,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('replica', progress)
  const redis = await startRedis()
  closeLater(redis.stop)
  for (let round = 1; round <= options.rounds; round++) {
    const arena = await site.createArena(options.products)
    await untilReplicaHas(arena, site)
    const withReplica = { DATABASE_REPLICA_URL: site.replicaUrlOf(arena.url) }
    const setups = {
      'primary alone': {},
      'with a replica': withReplica,
      'with a replica and a cache': { ...withReplica, CACHE_URL: redis.url },
    }
    for (const [name, settings] of rotated(Object.entries(setups), round - 1)) {
      const server = await startFunction('get-product', arena.url, site.folder, settings)
      const before = await transactionsOf(arena)
      const { acknowledged, ...result } = await runLoad({
        ports: [server.port],
        method: 'GET',
        path: '/v1/products/{productId}',
        headers: { authorization: `Bearer ${API_KEY}` },
        some: { percent: PERCENT_FROM_PRIMARY, headers: FROM_PRIMARY },
        connections: options.connections,
        products: { first: 1, count: PRODUCTS },
        warmSeconds: options.warmSeconds,
        seconds: options.seconds,
        expectedStatus: 200,
      })
      // A session tells its numbers when it ends, else when it pleases.
      await server.stop()
      const transactions = (await transactionsOf(arena)) - before
      const primaryPerThousand = (1_000 * transactions) / (result.answers['200'] ?? 1)
      const counts = { acknowledged: acknowledged.length, lost: 0 }
      recorder.note(round, name, 'reads', { ...result, ...counts, primaryPerThousand })
    }
    await measureCommits(arena, site, options, round, recorder)
    await arena.remove()
  }
  await redis.stop()
  return { series: recorder.series, note: '' }
}

async function measureCommits(
  arena: Arena,
  site: Site,
  options: Options,
  round: number,
  recorder: ReturnType<typeof createRecorder>,
): Promise<void> {
  await waitForStandbys(arena, '*')
  const modes = { 'commits wait for the disk': 'local', 'commits wait for the replica': 'remote_apply' }
  for (const [index, [name, mode]] of rotated(Object.entries(modes), round - 1).entries()) {
    const server = await startReserveStock(arena.url, site.folder, { DATABASE_SYNCHRONOUS_COMMIT: mode })
    const contender = httpContender(name, arena, [server.port], options)
    recorder.note(round, name, 'hot', await contender.measure({ first: 1 + index, count: 1 }))
    await server.stop()
  }
  await waitForStandbys(arena, '')
}

async function waitForStandbys({ sql }: Arena, names: string): Promise<void> {
  await sql.unsafe(`alter system set synchronous_standby_names = '${names}'`)
  await sql.unsafe('select pg_reload_conf()')
  await sleep(200)
}

async function transactionsOf({ sql }: Arena): Promise<number> {
  await sleep(STATISTICS_MS)
  const [row] = await sql<[{ count: string }]>`
    select xact_commit + xact_rollback as count from pg_stat_database where datname = current_database()`
  return Number(row.count)
}

/** A copied database is a hundred megabytes of log. */
async function untilReplicaHas({ sql }: Arena, site: Site): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const [row] = await sql<[{ isBehind: boolean }]>`
      select coalesce(bool_or(replay_lsn < pg_current_wal_lsn()), true) as "isBehind" from pg_stat_replication`
    if (!row.isBehind) return
    await sleep(100)
  }
  throw new Error(`the replica of ${site.folder} did not catch up within a minute`)
}
