import { join } from 'node:path'
import type { BenchCluster, BenchDatabase } from '../bench-cluster.ts'
import { httpContender } from '../contenders/contenders.ts'
import { startReserveStock, startStack } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/**
 * Compares holds of one hot product through all of `npm start` with the function's own process: the difference is the cost of the router,
 * the replica, and all event consumers in the same process. Also reports how far the consumers are behind at the end.
 */
export async function measureStack(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('stack', progress)
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const contenders = {
      'npm start': () =>
        startStack(database.url, {
          DATABASE_REPLICA_URL: cluster.replicaUrlOf(database.url),
          DATA_DIR: join(cluster.folder, 'stack'),
        }),
      'reserve-stock': () => startReserveStock(database.url, cluster.folder),
    }
    for (const [index, [name, start]] of rotated([...Object.entries(contenders).entries()], round - 1)) {
      const server = await start()
      const contender = httpContender(name, database, [server], options)
      const measurement = await contender.measure({ first: 1 + index, count: 1 })
      const behind = name === 'npm start' ? { behindSeconds: await secondsBehind(database) } : {}
      recorder.note(round, name, 'hot', { ...measurement, ...behind })
      await server.stop()
    }
    await database.remove()
  }
  const behind = recorder.series.flatMap(({ measurements }) =>
    measurements.flatMap(({ behindSeconds = [] }) => behindSeconds),
  )
  const note = `At the end of a load its followers were up to ${Math.max(...behind).toFixed(1)} s behind.`
  return { series: recorder.series, note }
}

/** Returns the age of the oldest event that is not in the log, or that some consumer group has not received. */
async function secondsBehind({ sql }: BenchDatabase): Promise<number> {
  const [row] = await sql<[{ seconds: number }]>`
    select extract(epoch from greatest(
      (select now() - min(occurred_at) from outbox),
      (select max(now() - (
        select occurred_at from event_log where topic = event_groups.topic and event_log.position > event_groups.position
        order by event_log.position limit 1
      )) from event_groups),
      interval '0'
    ))::float8 as seconds`
  return row.seconds
}
