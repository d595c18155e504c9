import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { listeningUrl, type Started, startNode } from '../../faults/processes.ts'
import { API_KEY } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'

export interface RunningServer {
  port: number
  pid: number
  stop: () => Promise<void>
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** A process that is stopped with SIGTERM, and with SIGKILL where that is not enough. */
const STOP_MS = 15_000

const bundles = new Map<string, Promise<string>>()

/** `reserve-stock` in a process of its own. */
export function startReserveStock(
  databaseUrl: string,
  folder: string,
  settings: Record<string, string> = {},
): Promise<RunningServer> {
  return startFunction('reserve-stock', databaseUrl, folder, settings)
}

/** A function's bundle, as `npm run build` made it, under its own host, in a process of its own. All load comes from one API key, so there is no rate limit. */
export async function startFunction(
  name: string,
  databaseUrl: string,
  folder: string,
  settings: Record<string, string> = {},
): Promise<RunningServer> {
  const bundle = bundles.get(name) ?? copyBundle(name, folder)
  bundles.set(name, bundle)
  return start(await bundle, databaseUrl, { RATE_LIMIT: '0', ...settings })
}

/** A copy, so that a build in the middle of a run changes nothing about it. */
async function copyBundle(name: string, folder: string): Promise<string> {
  const copy = join(folder, name)
  await cp(join(ROOT, 'dist/functions', name), copy, { recursive: true })
  return join(copy, 'index.mjs')
}

/** The functions of a sale in one process. */
export function startSaleServer(databaseUrl: string, folder: string): Promise<RunningServer> {
  return startContender('sale-server', databaseUrl, folder, { RATE_LIMIT: '0' })
}

/** The naive handler of a reservation, bundled as the function is. */
export function startNaive(databaseUrl: string, folder: string): Promise<RunningServer> {
  return startContender('naive-server', databaseUrl, folder)
}

/** A server of this folder, bundled as the functions are. */
export async function startContender(
  name: string,
  databaseUrl: string,
  folder: string,
  settings: Record<string, string> = {},
): Promise<RunningServer> {
  const outfile = join(folder, `${name}.mjs`)
  // The CommonJS part of the server's adapter requires Node's own modules.
  const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" }
  const entry = fileURLToPath(new URL(`${name}.ts`, import.meta.url))
  await build({ entryPoints: [entry], outfile, banner, bundle: true, minify: true, platform: 'node', format: 'esm' })
  return start(outfile, databaseUrl, settings)
}

/** How the images start a function; others that are measured get the same. */
const NODE_OPTIONS = '--max-semi-space-size=64'

/** Starts `node file` and waits until it says on which URL it listens. */
export async function start(
  file: string,
  databaseUrl: string,
  environment: Record<string, string> = {},
): Promise<RunningServer> {
  return started(startNode(file, { ...ownEnvironment(databaseUrl), ...environment }), listeningUrl)
}

/** `npm start` with a database that is there, whose key it uses. */
export function startStack(databaseUrl: string, settings: Record<string, string>): Promise<RunningServer> {
  const file = join(ROOT, 'infra/local/start.ts')
  const withTypes = { NODE_OPTIONS: `${NODE_OPTIONS} --import ${import.meta.resolve('tsx')}` }
  const running = startNode(file, {
    ...ownEnvironment(databaseUrl),
    ...withTypes,
    BOOTSTRAP_API_KEY: API_KEY,
    RATE_LIMIT: '0',
    LOG_LEVEL: 'warn',
    ...settings,
  })
  return started(running, ({ line }) => line((text) => /API +(http\S+)/.exec(text)?.[1]))
}

const ownEnvironment = (databaseUrl: string) => ({
  DATABASE_URL: databaseUrl,
  PORT: '0',
  HOST: '127.0.0.1',
  NODE_OPTIONS,
  // Its reader would be this process, on the same cores.
  ACCESS_LOG: '0',
})

async function started(running: Started, urlOf: (running: Started) => Promise<string>): Promise<RunningServer> {
  const stop = closeLater(async () => {
    running.process.kill('SIGTERM')
    const timer = setTimeout(() => running.process.kill('SIGKILL'), STOP_MS)
    await running.exit.finally(() => clearTimeout(timer))
  })
  const url = await urlOf(running)
  return { port: Number(new URL(url).port), pid: running.process.pid ?? 0, stop }
}
