import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { getRequestListener } from '@hono/node-server'
import * as z from 'zod'
import { checkAccessSettings } from '#access'
import { ownKeySetting } from '#access/bootstrap-key'
import { shutDown } from '#async'
import { ConfigError, integerSetting, readConfig } from '#config'
import { checkDatabase, databaseSettings, requireSupportedServer } from '#database'
import { ServiceError } from '#errors'
import { cacheSettings } from '#redis'
import {
  answerScrape,
  baggageKeys,
  flushLog,
  logger,
  logRepeated,
  logSettings,
  startLogExport,
  startTracing,
} from '#telemetry'
import type { FunctionDefinition } from '../definition.ts'
import type { RunningTrigger } from '../events/trigger.ts'
import { problemDocument, problemHeaders, toServiceError } from '../problem.ts'
import { requestIdOf } from '../request-id.ts'
import { publishStart } from '../status/info.ts'
import { STATUS_PATH } from '../status/path.ts'
import { processHealth, statusOf } from '../status/status.ts'
import { createHttpServer } from './http-server.ts'
import { requireReady } from './readiness.ts'
import { onStopSignal } from './stop-signals.ts'

const settingsSchema = z.object({
  PORT: integerSetting({ min: 0, max: 65_535, default: 3000 }),
  HOST: z.string().default('127.0.0.1'),
  /** Not used here, but a bad value must not go unnoticed. */
  BOOTSTRAP_API_KEY: ownKeySetting.optional(),
  /** How long readiness fails, and each answer ends its connection, before connections are refused: load balancers need this time to notice. */
  DRAIN_DELAY_MS: integerSetting({ min: 0, max: 60_000, default: 500 }),
})

/** In-flight requests get this long after SIGTERM: twice a request's time-out. */
const DRAIN_MAX_MS = 10_000

/** A drain that takes longer hangs: the limits of triggers and of closing the database are shorter. */
const GIVE_UP_MS = 30_000

export interface Host {
  url: string
  /** Fails readiness, takes no more requests and events, lets those in flight finish, and closes all connections. Bounded. */
  drain: () => Promise<void>
}

/** Throws a ConfigError for a setting that would otherwise fail only a function's first request. */
export function checkSettings(): void {
  logSettings()
  databaseSettings()
  cacheSettings()
  checkAccessSettings()
  baggageKeys()
}

/**
 * Serves one function as a process: its requests, `/healthz`, `/readyz`, `/metrics`, `/-/status`, and its trigger. The trigger is a parameter so
 * that a bundle contains no other trigger. `bundle` is the URL of the running bundle. Throws a ConfigError.
 */
export async function startHost(
  definition: FunctionDefinition,
  startTrigger?: (definition: FunctionDefinition) => RunningTrigger,
  bundle?: string,
): Promise<Host> {
  const settings = readConfig(settingsSchema)
  checkSettings()
  definition.settings?.()
  if (definition.trigger.kind !== 'http' && !startTrigger) throw new Error(`${definition.name} needs its trigger`)
  const version = bundle ? await hashOf(bundle) : null
  const service = { name: definition.name, version: version ?? undefined }
  await startTracing(service)
  startLogExport(service)
  const served: Served = { definition, version, isDraining: false }
  const app = getRequestListener((request, env) => definition.app.fetch(request, env))
  const server = createHttpServer((req, res) => {
    const operation = operations[req.url ?? '']
    if (!isFor(req, definition.name)) refuseMisdirected(req, res)
    else if (operation && req.method === 'GET') void operation(req, res, served)
    else void app(req, res)
  })
  const url = await server.listen(settings.PORT, settings.HOST)
  publishStart(definition.name, served.version)
  const trigger = startTrigger?.(definition)
  void refuseUnsupportedServer()
  logger().info({ function: definition.name, url }, `${definition.name} listens on ${url}`)
  return {
    url,
    async drain() {
      served.isDraining = true
      await Promise.all([server.close(DRAIN_MAX_MS, settings.DRAIN_DELAY_MS), trigger?.stop()])
      logRepeated()
      await shutDown()
    },
  }
}

/** Ends the process, with one line, if the database can't be used. A database that does not answer now may answer later. */
async function refuseUnsupportedServer(): Promise<void> {
  try {
    await requireSupportedServer()
  } catch (error) {
    if (!(error instanceof ConfigError)) return
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  }
}

/** What a process serves. */
interface Served {
  definition: FunctionDefinition
  version: string | null
  isDraining: boolean
}

/** Names a bundle by its content. */
async function hashOf(bundle: string): Promise<string> {
  const content = await readFile(fileURLToPath(bundle))
  return createHash('sha256').update(content).digest('hex').slice(0, 16)
}

type Operation = (req: IncomingMessage, res: ServerResponse, served: Served) => Promise<void>

const operations: Record<string, Operation> = {
  '/healthz': async (_, res) => sendJson(res, 200, { status: 'ok' }),
  '/readyz': async (req, res, { isDraining }) => {
    try {
      requireReady(isDraining ? { process: 'is shutting down' } : await checkDatabase())
      sendJson(res, 200, { status: 'ready' })
    } catch (error) {
      sendProblem(req, res, toServiceError(error))
    }
  },
  [STATUS_PATH]: async (_, res, { definition, version, isDraining }) => {
    sendJson(res, 200, statusOf(definition, isDraining ? 'unavailable' : await processHealth(), version))
  },
  '/metrics': answerScrape,
}

/** The router names the function that it wants, since the address may have been another function's a moment ago. */
function isFor(req: IncomingMessage, name: string): boolean {
  return req.headers.function === undefined || req.headers.function === name
}

function refuseMisdirected(req: IncomingMessage, res: ServerResponse): void {
  sendProblem(req, res, new ServiceError('misdirected_request', 'This process serves another function.'))
}

function sendProblem(req: IncomingMessage, res: ServerResponse, error: ServiceError): void {
  const requestId = requestIdOf(req.headers['request-id']?.toString())
  res.writeHead(error.status, problemHeaders(error))
  res.end(JSON.stringify(problemDocument(error, { instance: req.url ?? '', requestId })))
}

function sendJson(res: ServerResponse, status: number, body: object): void {
  res.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  res.end(JSON.stringify(body))
}

/** Runs a process around `start`. Drains it on a signal. Logs an unhandled error and ends the process, since its state is then unknown. */
export async function runProcess(start: () => Promise<{ drain: () => Promise<void> }>): Promise<void> {
  process.on('uncaughtException', (error) => crash(error, 'uncaught error'))
  process.on('unhandledRejection', (error) => crash(error, 'unhandled rejection'))
  try {
    const host = await start()
    const drain = async (signal: NodeJS.Signals) => {
      logger().info({ signal }, 'draining')
      setTimeout(() => crash(new Error(`not drained within ${GIVE_UP_MS} ms`), 'giving up'), GIVE_UP_MS).unref()
      await host.drain()
      logger().info('stopped')
      await flushLog()
      process.exit(0)
    }
    onStopSignal(drain, () => logger().info('still draining'))
  } catch (error) {
    if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`)
    else crash(error, 'the process could not start')
    process.exit(1)
  }
}

function crash(error: unknown, what: string): never {
  logger().fatal({ err: error }, what)
  process.exit(1)
}
