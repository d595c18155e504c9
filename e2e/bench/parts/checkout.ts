import type { BenchCluster } from '../bench-cluster.ts'
import { httpContender, transactionsContender } from '../contenders/contenders.ts'
import { fromPgbench, pgbenchVersion } from '../contenders/pgbench.ts'
import { startSaleServer } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

const confirmed = { confirmPercent: 100, releasePercent: 0, extendAndConfirmPercent: 0 }
const mixed = { confirmPercent: 70, releasePercent: 20, extendAndConfirmPercent: 10 }

/** Sales a second: each connection reserves one piece and confirms it, in turn, against pgbench with the same two transactions. */
export async function measureCheckout(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'> & { transactions?: string }> {
  const recorder = createRecorder('checkout', progress)
  const version = await pgbenchVersion()
  const pgbench = fromPgbench('pgbench', ['reserve.pgbench.sql', 'confirm.pgbench.sql'], 2)
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const server = await startSaleServer(database.url, cluster.folder)
    const contenders = [
      httpContender('one process', database, [server], options, { ending: confirmed }),
      ...(version === undefined ? [] : [transactionsContender(pgbench, database, options)]),
    ]
    const all = { first: 1, count: options.products }
    for (const [index, contender] of rotated([...contenders.entries()], round - 1)) {
      recorder.note(round, contender.name, 'hot', await contender.measure({ first: 1 + index, count: 1 }))
      recorder.note(round, contender.name, 'spread', await contender.measure(all))
    }
    const shop = httpContender('one process', database, [server], options, { ending: mixed })
    recorder.note(
      round,
      shop.name,
      'hot, 70 % confirmed, 20 % released, 10 % extended',
      await shop.measure({ first: 3, count: 1 }),
    )
    await server.stop()

    const servers = []
    // One after the other: each start bundles the server anew.
    for (let index = 0; index < 4; index++) servers.push(await startSaleServer(database.url, cluster.folder))
    const four = httpContender('four processes', database, servers, options, { ending: confirmed })
    recorder.note(round, four.name, 'hot', await four.measure({ first: 4, count: 1 }))
    for (const each of servers) await each.stop()
    await database.remove()
  }
  if (version === undefined)
    return { series: recorder.series, note: 'pgbench is not installed: there is nothing to compare with.' }
  return { series: recorder.series, note: '', transactions: version }
}
