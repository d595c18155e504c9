import { addScarce, httpContender } from '../contenders/contenders.ts'
import { startReserveStock } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'
import type { Site } from '../site.ts'

/** One product that is sold out, and everybody still asks for it, against one that is not. */
export async function measureRefused(
  site: Site,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('refused', progress)
  for (let round = 1; round <= options.rounds; round++) {
    const arena = await site.createArena(options.products)
    const server = await startReserveStock(arena.url, site.folder)
    const contender = httpContender('reserve-stock', arena, [server.port], options)
    const soldOut = await addScarce(arena, 1)
    await contender.measure({ first: soldOut, count: 1 }, { connections: 1, requestsMax: 1, warmSeconds: 0 })
    const scenarios = [
      { scenario: 'accepted', first: 1, expectedStatus: 201 },
      { scenario: 'refused', first: soldOut, expectedStatus: 409 },
    ]
    for (const { scenario, first, expectedStatus } of rotated(scenarios, round - 1)) {
      recorder.note(round, contender.name, scenario, await contender.measure({ first, count: 1 }, { expectedStatus }))
    }
    await server.stop()
    await arena.remove()
  }
  return { series: recorder.series, note: '' }
}
