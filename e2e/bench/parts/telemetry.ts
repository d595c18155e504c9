import { setTimeout as sleep } from 'node:timers/promises'
import { API_KEY, type BenchCluster, type BenchDatabase } from '../bench-cluster.ts'
import { httpContender } from '../contenders/contenders.ts'
import { type RunningServer, startContender, startFunction, startSaleServer } from '../contenders/servers.ts'
import { runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Measurement } from '../report/measurement.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

const SCRAPE_MS = 1_000
/** Seconds under load before the measurement: most of a server's code is compiled by then. */
const COMPILE_SECONDS = 4

/**
 * Measures the cost of each kind of telemetry. Each kind adds to the previous one. The collector is a process on the same cores that keeps
 * nothing. Each round has its own servers. All of them run the whole time and are measured in turn. Of two processes with the same code, one
 * is some 5 % faster for its whole life, so ratios this close to 1 need many processes more than long rounds.
 */
export async function measureTelemetry(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('telemetry', progress)
  const collector = await startContender('otlp-sink', '', cluster.folder)
  const traced = (share: string) => ({
    ACCESS_LOG: '1',
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: share,
    OTEL_LOGS_EXPORTER: 'none',
  })
  const kinds: Record<string, Record<string, string>> = {
    off: {},
    'metrics and access log': { ACCESS_LOG: '1' },
    '1 % of traces': traced('0.01'),
    '10 % of traces': traced('0.1'),
    'all traces': traced('1'),
    'all traces and log records': { ...traced('1'), OTEL_LOGS_EXPORTER: 'otlp' },
  }
  for (const [scenario, operation] of Object.entries(operations)) {
    const database = await cluster.createDatabase(options.products)
    for (let round = 1; round <= options.rounds; round++) {
      const running = []
      for (const [index, [kind, settings]] of Object.entries(kinds).entries()) {
        const server = await operation.start(database.url, cluster.folder, settings)
        const measure = (run: Options) => operation.measure(database, server, { first: 1 + index, count: 1 }, run)
        progress(`telemetry: warming up ${kind}, ${scenario}`)
        await measure({ ...options, warmSeconds: COMPILE_SECONDS, seconds: 1 })
        running.push({ kind, server, measure })
      }
      for (const { kind, server, measure } of rotated(running, round - 1)) {
        const scraping = kind === 'off' ? undefined : scrape(server)
        recorder.note(round, kind, scenario, await measure(options))
        await scraping?.stop()
      }
      for (const { server } of running) await server.stop()
    }
    await database.remove()
  }
  await collector.stop()
  return { series: recorder.series, note: '' }
}

interface Operation {
  start: (databaseUrl: string, folder: string, settings: Record<string, string>) => Promise<RunningServer>
  measure: (
    database: BenchDatabase,
    server: RunningServer,
    products: { first: number; count: number },
    options: Options,
  ) => Promise<Measurement>
}

const operations: Record<string, Operation> = {
  'reserve-stock': {
    start: (...args) => startFunction('reserve-stock', ...args),
    measure: (database, server, products, options) => httpContender('', database, [server], options).measure(products),
  },
  sales: {
    start: startSaleServer,
    measure: (database, server, products, options) =>
      httpContender('', database, [server], options, {
        ending: { confirmPercent: 100, releasePercent: 0, extendAndConfirmPercent: 0 },
      }).measure(products),
  },
  'get-product': {
    start: (url, folder, settings) => startFunction('get-product', url, folder, { CACHE_URL: 'memory:', ...settings }),
    async measure(_, { port }, products, { connections, warmSeconds, seconds }) {
      const { acknowledged, ...result } = await runLoad({
        ports: [port],
        method: 'GET',
        path: '/v1/products/{productId}',
        headers: { authorization: `Bearer ${API_KEY}` },
        expectedStatus: 200,
        connections,
        products,
        warmSeconds,
        seconds,
      })
      return { ...result, acknowledged: acknowledged.length, lost: 0 }
    },
  },
}

/** Reads the server's metrics each second, as Prometheus would. */
function scrape({ port }: RunningServer) {
  const stopping = new AbortController()
  const scraping = (async () => {
    while (!stopping.signal.aborted) {
      const response = await fetch(`http://127.0.0.1:${port}/metrics`)
      await response.arrayBuffer()
      await sleep(SCRAPE_MS, undefined, { signal: stopping.signal }).catch(() => {})
    }
  })()
  // The caller that stops it gets the error. Until then, the error must not end the process, which has servers to stop.
  scraping.catch(() => {})
  return {
    async stop() {
      stopping.abort()
      await scraping
    },
  }
}
