import { API_KEY, type BenchCluster } from '../bench-cluster.ts'
import { startFunction } from '../contenders/servers.ts'
import { type Job, runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

const ITEMS = 500

/** Compares the latency of a query for 500 products with that of one product, with a single client. */
export async function measureBulk(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('bulk', progress)
  const database = await cluster.createDatabase(options.products)
  const server = await startFunction('query-availability', database.url, cluster.folder)
  const job = (items: number): Job => ({
    ports: [server.port],
    path: '/v1/stock/availability',
    headers: { authorization: `Bearer ${API_KEY}` },
    body: JSON.stringify({ items: Array.from({ length: items }, () => ({ productId: '{productId}' })) }),
    connections: 1,
    products: { first: 1, count: options.products },
    warmSeconds: options.warmSeconds,
    seconds: options.seconds,
    expectedStatus: 200,
  })
  for (let round = 1; round <= options.rounds; round++) {
    for (const items of rotated([1, ITEMS], round - 1)) {
      const { acknowledged: _, ...result } = await runLoad(job(items))
      recorder.note(round, 'query-availability', `${items} items`, { ...result, acknowledged: 0, lost: 0 })
    }
  }
  await server.stop()
  await database.remove()
  return { series: recorder.series, note: '' }
}
