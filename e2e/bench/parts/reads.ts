import { startRedis } from '../../../infra/local/engines/redis.ts'
import { API_KEY, type BenchCluster } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'
import { type RunningServer, startContender, startFunction } from '../contenders/servers.ts'
import { productId } from '../dataset.ts'
import { runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/** The number of products that are read. */
const PRODUCTS = 100
/** A limit that is never reached: every request is counted, and none refused. */
const COUNTED = '1000000'

/**
 * Compares get-product with each kind of cache, and with its requests counted, with a bare Hono handler that answers with the same
 * JSON. `settings` are the function's settings.
 */
export async function measureReads(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('reads', progress)
  const redis = await startRedis()
  closeLater(redis.stop)
  const database = await cluster.createDatabase(options.products)
  const start = (settings: Record<string, string>) =>
    startFunction('get-product', database.url, cluster.folder, settings)
  const contenders: Record<string, RunningServer> = {
    'cache in memory': await start({ CACHE_URL: 'memory:' }),
    'cache in Redis': await start({ CACHE_URL: redis.url }),
    'no cache': await start({}),
    'cache in memory, counted in memory': await start({ CACHE_URL: 'memory:', RATE_LIMIT: COUNTED }),
    'cache in Redis, counted in Redis': await start({ CACHE_URL: redis.url, RATE_LIMIT: COUNTED }),
  }
  const product = await read(contenders['no cache'])
  contenders['bare Hono handler'] = await startContender('bare-server', database.url, cluster.folder, {
    PRODUCT: product,
  })
  for (let round = 1; round <= options.rounds; round++) {
    for (const [name, server] of rotated(Object.entries(contenders), round - 1)) {
      const { acknowledged, ...result } = await runLoad({
        ports: [server.port],
        method: 'GET',
        path: '/v1/products/{productId}',
        headers: { authorization: `Bearer ${API_KEY}` },
        connections: options.connections,
        products: { first: 1, count: PRODUCTS },
        warmSeconds: options.warmSeconds,
        seconds: options.seconds,
        expectedStatus: 200,
      })
      recorder.note(round, name, 'get-product', { ...result, acknowledged: acknowledged.length, lost: 0 })
    }
  }
  for (const { stop } of Object.values(contenders)) await stop()
  await database.remove()
  await redis.stop()
  return { series: recorder.series, note: '' }
}

async function read(server: RunningServer | undefined): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${server?.port}/v1/products/${productId(1)}`, {
    headers: { authorization: `Bearer ${API_KEY}` },
  })
  if (response.status !== 200) throw new Error(`get-product answered ${response.status}`)
  return response.text()
}
