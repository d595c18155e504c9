import { readFile } from 'node:fs/promises'
import { ensureBootstrapKey } from '#access'
import { shutDown } from '#async'
import { overrideEnvironment } from '#config'
import { checkDatabase, migrate } from '#database'
import type { FunctionDefinition } from '#function'
import { checkSettings } from '#function/host'
import { createHttpServer } from '#function/http-server'
import { serveMetrics } from '#function/metrics-server'
import { localHosts } from '#function/request-head'
import {
  type RunningTrigger,
  startClock,
  startEventOutbox,
  startJobOutbox,
  startQueue,
  startStream,
} from '#function/triggers'
import { openApiOf } from '#openapi'
import { followLines, formatLines, logRepeated, startLogExport, startTracing } from '#telemetry'
import { logFailures } from '../router/exchange.ts'
import { createRouter } from '../router/router.ts'
import type { EngineUrls } from './engines/start-engines.ts'
import { readExamples } from './invocation.ts'
import { loadFunctions } from './load-functions.ts'
import { serveTraces } from './observe/serve-traces.ts'
import { createTraceStore } from './observe/store.ts'
import { prettyLine } from './pretty-lines.ts'
import { seedCatalogue } from './seed.ts'

export interface ServeOptions {
  databaseUrl: string
  databaseReplicaUrl: string | undefined
  host: string
  port: number
  /** This port is on the loopback address. */
  metricsPort: number
  allowedHosts: readonly string[]
  /** Engines to use instead of the embedded ones. */
  engines: EngineUrls
  bootstrapApiKey: string
  seed: boolean
  /** Keeps the last traces in this process. */
  observe: boolean
  logLevel: string
  progress: (line: string) => void
}

export interface ServedFunctions {
  url: string
  metricsUrl: string
  /** The URL of the kept traces; undefined if none are kept. */
  tracesUrl: string | undefined
  functionCount: number
  stop(): Promise<void>
}

/** How long requests in flight may take when the service stops. */
const DRAIN_MS = 5_000

/** Prepares the database and serves every function in this process, with the router in front. */
export async function serveFunctions(options: ServeOptions): Promise<ServedFunctions> {
  const { databaseUrl, databaseReplicaUrl, logLevel, progress } = options
  overrideEnvironment({
    DATABASE_URL: databaseUrl,
    DATABASE_REPLICA_URL: databaseReplicaUrl,
    LOG_LEVEL: logLevel,
    DATABASE_POOL_MAX: '20',
    CACHE_URL: 'memory:',
    ...options.engines,
  })
  const service = { name: 'stock-management-service', version: await packageVersion() }
  const traces = options.observe ? createTraceStore() : undefined
  await startTracing(service, traces?.addSpan)
  if (traces) followLines(traces.addLine)
  startLogExport(service)
  if (process.stdout.isTTY) formatLines(prettyLine)
  checkSettings()
  const functions = await loadFunctions()
  for (const { settings } of functions) settings?.()
  progress('bringing the schema up to date')
  await migrate()
  await ensureBootstrapKey(options.bootstrapApiKey)
  if (options.seed) await seedCatalogue(progress)
  progress('starting the functions')
  const router = createRouter({
    routes: functions.flatMap(toRoute),
    openapi: openApiOf(functions, await packageVersion(), await readExamples(functions)),
    ready: checkDatabase,
    log: logFailures,
  })
  const server = createHttpServer(router.listener, { isServed: localHosts(options.allowedHosts) })
  const url = await server.listen(options.port, options.host)
  const metrics = await serveMetrics(options.metricsPort, '127.0.0.1', { isServed: localHosts([]) })
  const keptTraces = traces && (await serveTraces(traces))
  const triggers = functions.flatMap(startTrigger)
  return {
    url,
    metricsUrl: metrics.url,
    tracesUrl: keptTraces?.url,
    functionCount: functions.length,
    async stop() {
      await Promise.all([server.close(DRAIN_MS), ...triggers.map((trigger) => trigger.stop())])
      await Promise.all([router.close(), metrics.close(), keptTraces?.close()])
      logRepeated()
      await shutDown()
    },
  }
}

/** Starts the trigger of a function without a route. */
function startTrigger(definition: FunctionDefinition): RunningTrigger[] {
  switch (definition.trigger.kind) {
    case 'http':
      return []
    case 'queue':
      return [startQueue(definition)]
    case 'stream':
      return [startStream(definition)]
    case 'schedule':
      return [startClock(definition)]
    case 'outbox':
      return [definition.trigger.outbox === 'events' ? startEventOutbox(definition) : startJobOutbox(definition)]
  }
}

function toRoute({ name, trigger, limits, app }: FunctionDefinition) {
  if (trigger.kind !== 'http') return []
  const { method, path } = trigger
  const { timeoutMs, maxBodyBytes } = limits
  return [{ name, method, path, timeoutMs, maxBodyBytes, target: { fetch: app.fetch } }]
}

async function packageVersion(): Promise<string> {
  const json = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(json) as { version: string }).version
}
