import type { BenchCluster } from '../bench-cluster.ts'
import { httpContender } from '../contenders/contenders.ts'
import { startNaive, startReserveStock } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/**
 * Measures the latency at half of the saturation rate, on one hot product. The rate is measured first, then requests arrive at
 * random at half of it. Each latency counts from the arrival and includes the wait for a connection.
 */
export async function measureLatency(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('latency', progress)
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const own = await startReserveStock(database.url, cluster.folder)
    const naive = await startNaive(database.url, cluster.folder)
    const contenders = [
      httpContender('reserve-stock', database, [own], options),
      httpContender('naive handler', database, [naive], options),
    ]
    for (const contender of rotated(contenders, round - 1)) {
      const products = { first: 1 + contenders.indexOf(contender), count: 1 }
      const saturated = await contender.measure(products)
      recorder.note(round, contender.name, 'saturated', saturated)
      const ratePerSecond = saturated.perSecond / 2
      const half = await contender.measure(products, { ratePerSecond })
      recorder.note(round, contender.name, 'half', { ...half, arrivalsPerSecond: ratePerSecond })
    }
    await own.stop()
    await naive.stop()
    await database.remove()
  }
  return { series: recorder.series, note: '' }
}
