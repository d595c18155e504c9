import type { BenchCluster } from '../bench-cluster.ts'
import { httpContender } from '../contenders/contenders.ts'
import { startReserveStock } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

const PROCESSES = 4

/** Measures one hot product with the same total number of connections to four processes as to one. */
export async function measureProcesses(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('processes', progress)
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const servers = []
    for (let index = 0; index < PROCESSES; index++) servers.push(await startReserveStock(database.url, cluster.folder))
    const contenders = [
      httpContender('one process', database, servers.slice(0, 1), options),
      httpContender('four processes', database, servers, options),
    ]
    for (const contender of rotated(contenders, round - 1)) {
      const products = { first: 1 + contenders.indexOf(contender), count: 1 }
      recorder.note(round, contender.name, 'hot', await contender.measure(products))
    }
    for (const { stop } of servers) await stop()
    await database.remove()
  }
  return { series: recorder.series, note: '' }
}
