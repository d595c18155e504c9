import { httpContender } from '../contenders/contenders.ts'
import { startReserveStock } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'
import type { Site } from '../site.ts'

const PROCESSES = 4

/** One hot product, the same connections in all: dealt out to four processes, and to one. */
export async function measureProcesses(
  site: Site,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('processes', progress)
  for (let round = 1; round <= options.rounds; round++) {
    const arena = await site.createArena(options.products)
    const servers = []
    for (let index = 0; index < PROCESSES; index++) servers.push(await startReserveStock(arena.url, site.folder))
    const ports = servers.map(({ port }) => port)
    const contenders = [
      httpContender('one process', arena, ports.slice(0, 1), options),
      httpContender('four processes', arena, ports, options),
    ]
    for (const contender of rotated(contenders, round - 1)) {
      const products = { first: 1 + contenders.indexOf(contender), count: 1 }
      recorder.note(round, contender.name, 'hot', await contender.measure(products))
    }
    for (const { stop } of servers) await stop()
    await arena.remove()
  }
  return { series: recorder.series, note: '' }
}
