import type { BenchCluster } from '../bench-cluster.ts'
import { httpContender, transactionsContender } from '../contenders/contenders.ts'
import { fromPgbench, pgbenchVersion } from '../contenders/pgbench.ts'
import { startFunction } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/** Adjustments a second, of one piece each, against pgbench with one transaction each. */
export async function measureAdjust(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'> & { transactions?: string }> {
  const recorder = createRecorder('adjust', progress)
  const version = await pgbenchVersion()
  const pgbench = fromPgbench('pgbench', ['adjust.pgbench.sql'], 1)
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const server = await startFunction('adjust-stock', database.url, cluster.folder)
    const contenders = [
      httpContender('adjust-stock', database, [server], options, {
        path: '/v1/products/{productId}/stock/adjustments',
        body: '{"quantity":1,"reason":"received"}',
      }),
      ...(version === undefined ? [] : [transactionsContender(pgbench, database, options)]),
    ]
    for (const [index, contender] of rotated([...contenders.entries()], round - 1)) {
      recorder.note(round, contender.name, 'hot', await contender.measure({ first: 1 + index, count: 1 }))
      const all = { first: 1, count: options.products }
      recorder.note(round, contender.name, 'spread', await contender.measure(all))
    }
    await server.stop()
    await database.remove()
  }
  if (version === undefined)
    return { series: recorder.series, note: 'pgbench is not installed: there is nothing to compare with.' }
  return { series: recorder.series, note: '', transactions: version }
}
