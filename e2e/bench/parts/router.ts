import { fileURLToPath } from 'node:url'
import { API_KEY, type BenchCluster } from '../bench-cluster.ts'
import { nginxVersion, startNginx } from '../contenders/nginx.ts'
import { type RunningServer, start, startFunction } from '../contenders/servers.ts'
import { type Job, runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

const CONNECTIONS = 32
/** The number of products that are read and reserved. */
const PRODUCTS = 100

const ROUTER = fileURLToPath(new URL('../../../dist/router/index.mjs', import.meta.url))

const requests: Record<string, Pick<Job, 'method' | 'path' | 'expectedStatus'>> = {
  'get-product': { method: 'GET', path: '/v1/products/{productId}', expectedStatus: 200 },
  'reserve-stock': { method: 'POST', path: '/v1/reservations', expectedStatus: 201 },
}

/** Measures a function's process behind the router, behind nginx, and without a proxy: answers a second, and the latency of one client. */
export async function measureRouter(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('router', progress)
  const version = await nginxVersion()
  const database = await cluster.createDatabase(options.products)
  for (const [name, request] of Object.entries(requests)) {
    const direct = await startFunction(name, database.url, cluster.folder, { CACHE_URL: 'memory:' })
    const upstream = { [`UPSTREAM_${name.toUpperCase().replaceAll('-', '_')}`]: `http://127.0.0.1:${direct.port}` }
    const contenders: Record<string, RunningServer> = { direct, router: await start(ROUTER, database.url, upstream) }
    if (version !== undefined) contenders.nginx = await startNginx(direct.port, cluster.folder)
    for (let round = 1; round <= options.rounds; round++) {
      for (const [contender, { port }] of rotated(Object.entries(contenders), round - 1)) {
        for (const connections of [CONNECTIONS, 1]) {
          const scenario = connections === 1 ? `${name}, one client` : name
          const { acknowledged, ...result } = await runLoad({ ...jobOf(request, port, options), connections })
          recorder.note(round, contender, scenario, { ...result, acknowledged: acknowledged.length, lost: 0 })
        }
      }
    }
    for (const { stop } of Object.values(contenders).reverse()) await stop()
  }
  await database.remove()
  return {
    series: recorder.series,
    note: version ?? 'nginx is not installed: there is no other proxy to compare with.',
  }
}

function jobOf(request: (typeof requests)[string], port: number, options: Options): Omit<Job, 'connections'> {
  return {
    ...request,
    ports: [port],
    headers: { authorization: `Bearer ${API_KEY}` },
    products: { first: 1, count: PRODUCTS },
    warmSeconds: options.warmSeconds,
    seconds: options.seconds,
  }
}
