import type { BenchCluster } from '../bench-cluster.ts'
import { addScarce, httpContender } from '../contenders/contenders.ts'
import { startReserveStock } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/** Compares reservations of a sold-out product with reservations of one that is not. */
export async function measureRefused(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('refused', progress)
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const server = await startReserveStock(database.url, cluster.folder)
    const contender = httpContender('reserve-stock', database, [server], options)
    const soldOut = await addScarce(database, 1)
    await contender.measure({ first: soldOut, count: 1 }, { connections: 1, requestsMax: 1, warmSeconds: 0 })
    const scenarios = [
      { scenario: 'accepted', first: 1, expectedStatus: 201 },
      { scenario: 'refused', first: soldOut, expectedStatus: 409 },
    ]
    for (const { scenario, first, expectedStatus } of rotated(scenarios, round - 1)) {
      recorder.note(round, contender.name, scenario, await contender.measure({ first, count: 1 }, { expectedStatus }))
    }
    await server.stop()
    await database.remove()
  }
  return { series: recorder.series, note: '' }
}
