import { setTimeout as sleep } from 'node:timers/promises'
import { startRedis } from '../../../infra/local/engines/redis.ts'
import { API_KEY, type BenchCluster, type BenchDatabase } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'
import { httpContender } from '../contenders/contenders.ts'
import { startFunction, startReserveStock } from '../contenders/servers.ts'
import { runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/** A token of another timeline. Only the primary may answer a read with it. */
const FROM_PRIMARY = { 'consistency-token': '0-0/1' }
const PERCENT_FROM_PRIMARY = 5
/** The number of products that are read. */
const PRODUCTS = 1_000
const STATISTICS_MS = 500

/**
 * Measures how much load a replica takes from the primary, and the cost of waiting for it: transactions on the primary for each thousand
 * reads, of which 5 % require the primary, and reservations whose commits wait until they are visible on the replica.
 */
export async function measureReplica(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('replica', progress)
  const redis = await startRedis()
  closeLater(redis.stop)
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    await untilReplicaHas(database, cluster)
    const withReplica = { DATABASE_REPLICA_URL: cluster.replicaUrlOf(database.url) }
    const setups = {
      'primary alone': {},
      'with a replica': withReplica,
      'with a replica and a cache': { ...withReplica, CACHE_URL: redis.url },
    }
    for (const [name, settings] of rotated(Object.entries(setups), round - 1)) {
      const server = await startFunction('get-product', database.url, cluster.folder, settings)
      const before = await transactionsOf(database)
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
      // A session reports its statistics when it ends, or otherwise at some later time.
      await server.stop()
      const transactions = (await transactionsOf(database)) - before
      const primaryPerThousand = (1_000 * transactions) / (result.answers['200'] ?? 1)
      const counts = { acknowledged: acknowledged.length, lost: 0 }
      recorder.note(round, name, 'reads', { ...result, ...counts, primaryPerThousand })
    }
    await measureCommits(database, cluster, options, round, recorder)
    await database.remove()
  }
  await redis.stop()
  return { series: recorder.series, note: '' }
}

async function measureCommits(
  database: BenchDatabase,
  cluster: BenchCluster,
  options: Options,
  round: number,
  recorder: ReturnType<typeof createRecorder>,
): Promise<void> {
  await waitForStandbys(database, '*')
  const modes = { 'commits wait for the disk': 'local', 'commits wait for the replica': 'remote_apply' }
  for (const [index, [name, mode]] of rotated(Object.entries(modes), round - 1).entries()) {
    const server = await startReserveStock(database.url, cluster.folder, { DATABASE_SYNCHRONOUS_COMMIT: mode })
    const contender = httpContender(name, database, [server], options)
    recorder.note(round, name, 'hot', await contender.measure({ first: 1 + index, count: 1 }))
    await server.stop()
  }
  await waitForStandbys(database, '')
}

async function waitForStandbys({ sql }: BenchDatabase, names: string): Promise<void> {
  await sql.unsafe(`alter system set synchronous_standby_names = '${names}'`)
  await sql.unsafe('select pg_reload_conf()')
  await sleep(200)
}

async function transactionsOf({ sql }: BenchDatabase): Promise<number> {
  await sleep(STATISTICS_MS)
  const [row] = await sql<[{ count: string }]>`
    select xact_commit + xact_rollback as count from pg_stat_database where datname = current_database()`
  return Number(row.count)
}

/** Waits for the replica: copying a database writes a hundred megabytes of WAL. */
async function untilReplicaHas({ sql }: BenchDatabase, cluster: BenchCluster): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const [row] = await sql<[{ isBehind: boolean }]>`
      select coalesce(bool_or(replay_lsn < pg_current_wal_lsn()), true) as "isBehind" from pg_stat_replication`
    if (!row.isBehind) return
    await sleep(100)
  }
  throw new Error(`the replica of ${cluster.folder} did not catch up within a minute`)
}
