import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { shutDown } from '#async'
import { ConfigError, integerSetting } from '#config'
import { createHttpServer } from '#function/http-server'
import { serveMetrics } from '#function/metrics-server'
import { onStopSignal } from '#function/stop-signals'
import { flushLog, logger, logSettings, startLogExport, startTracing } from '#telemetry'
import { logFailures } from './exchange.ts'
import { parseManifest, proxiedRoutes } from './manifest.ts'
import { createRouter } from './router.ts'

/** The time from the signal until the last connection is cut. By default orchestrators kill after 10 s (compose) or 30 s (Kubernetes). */
const STOP_MS_MAX = 10_000

const Settings = z.object({
  PORT: integerSetting({ min: 0, max: 65_535, default: 3000 }),
  /** A container sets 0.0.0.0. */
  HOST: z.string().default('127.0.0.1'),
  MANIFEST: z.string().default(fileURLToPath(new URL('../manifest.json', import.meta.url))),
  /** How long /readyz fails, and each answer closes its connection, before the router refuses connections. Load balancers need this time to notice. */
  DRAIN_DELAY_MS: integerSetting({ min: 0, max: 5_000, default: 500 }),
  /** The port of `/metrics`, which clients must not see. */
  METRICS_PORT: integerSetting({ min: 0, max: 65_535, default: 9464 }),
})

type Environment = Record<string, string | undefined>

export interface RunningRouter {
  url: string
  metricsUrl: string
  /** Fails /readyz, then refuses connections and lets requests in flight finish. Takes at most 10 s in all. */
  stop(): Promise<void>
}

/** The router as a process: proxies to the functions of the manifest until a signal asks it to end, then drains. */
export async function main(env: Environment): Promise<void> {
  try {
    const router = await startRouter(env)
    onStopSignal(
      () => void router.stop().then(() => process.exit(0)),
      () => logger().info('router still stopping'),
    )
  } catch (error) {
    logger().fatal(explain(error))
    process.exitCode = 1
  }
}

/** Starts to serve. Throws if a setting or the manifest is invalid, or if the port is taken. */
export async function startRouter(env: Environment): Promise<RunningRouter> {
  const settings = parseSettings(env)
  logSettings()
  const service = { name: 'router', version: undefined }
  await startTracing(service)
  startLogExport(service)
  const manifest = parseManifest(await readFile(settings.MANIFEST, 'utf8'))
  let stopping = false
  const router = createRouter({
    routes: proxiedRoutes(manifest, env),
    openapi: manifest.openapi,
    // This does not check the functions: if one of them is down, the router still serves the others, and must stay in rotation.
    ready: async () => (stopping ? { router: 'stopping' } : {}),
    log: logFailures,
  })
  const server = createHttpServer(router.listener)
  const { PORT, HOST, METRICS_PORT } = settings
  const metrics = await serveMetrics(METRICS_PORT, HOST)
  const { url: metricsUrl } = metrics
  const url = await server.listen(PORT, HOST).catch(async (error: unknown) => {
    await metrics.close()
    throw error
  })
  logger().info({ url, metricsUrl, functions: manifest.functions.length }, 'router listening')
  return {
    url,
    metricsUrl,
    async stop() {
      stopping = true
      await server.close(STOP_MS_MAX - settings.DRAIN_DELAY_MS, settings.DRAIN_DELAY_MS)
      await Promise.all([router.close(), metrics.close()])
      logger().info('router stopped')
      await shutDown()
      await flushLog()
    },
  }
}

function parseSettings(env: Environment): z.infer<typeof Settings> {
  const parsed = Settings.safeParse(env)
  if (parsed.success) return parsed.data
  throw new ConfigError(parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n'))
}

/** One line that an operator can act on, without a stack. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if ('code' in error && error.code === 'EADDRINUSE') return `The port is taken: ${error.message}`
  return error.message
}
