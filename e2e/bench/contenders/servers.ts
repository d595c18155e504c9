import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { bundleOptions } from '../../../infra/build/bundle-options.ts'
import { API_KEY } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'

export interface RunningServer {
  port: number
  pid: number
  stop: () => Promise<void>
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** How long a process may take to stop after SIGTERM. Then it gets SIGKILL. */
const STOP_MS = 15_000

const bundles = new Map<string, Promise<string>>()

/** Starts `reserve-stock` in a separate process. */
export function startReserveStock(
  databaseUrl: string,
  folder: string,
  settings: Record<string, string> = {},
): Promise<RunningServer> {
  return startFunction('reserve-stock', databaseUrl, folder, settings)
}

/** Starts a function's bundle from `npm run build`, with its own host, in a separate process. One API key makes all load, so there is no rate limit. */
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

/** Copies a bundle, so that a build in the middle of a run changes nothing. */
async function copyBundle(name: string, folder: string): Promise<string> {
  const copy = join(folder, name)
  await cp(join(ROOT, 'dist/functions', name), copy, { recursive: true })
  return join(copy, 'index.mjs')
}

/** Starts the functions of a sale in one process. */
export function startSaleServer(
  databaseUrl: string,
  folder: string,
  settings: Record<string, string> = {},
): Promise<RunningServer> {
  return startContender('sale-server', databaseUrl, folder, { RATE_LIMIT: '0', ...settings })
}

/** Starts the naive handler of a reservation, bundled like the function. */
export function startNaive(databaseUrl: string, folder: string): Promise<RunningServer> {
  return startContender('naive-server', databaseUrl, folder)
}

/** Starts a server of this folder, bundled like the functions. */
export async function startContender(
  name: string,
  databaseUrl: string,
  folder: string,
  settings: Record<string, string> = {},
): Promise<RunningServer> {
  const outfile = join(folder, `${name}.mjs`)
  const entry = fileURLToPath(new URL(`${name}.ts`, import.meta.url))
  await build({ ...bundleOptions, minify: true, entryPoints: [entry], outfile })
  return start(outfile, databaseUrl, settings)
}

/** The options with which the images start a function. All measured servers get the same. */
const NODE_OPTIONS = '--max-semi-space-size=64'

/** Starts `node file` and waits until it logs its URL. Requests leave no line in its log unless `ACCESS_LOG` is 1. */
export function start(
  file: string,
  databaseUrl: string,
  environment: Record<string, string> = {},
): Promise<RunningServer> {
  return launch(file, { ...ownEnvironment(databaseUrl), ...environment }, /"url":"([^"]+)"/)
}

/** Starts `npm start` with an existing database, and with that database's key. */
export function startStack(databaseUrl: string, settings: Record<string, string>): Promise<RunningServer> {
  const environment = {
    ...ownEnvironment(databaseUrl),
    NODE_OPTIONS: `${NODE_OPTIONS} --import ${import.meta.resolve('tsx')}`,
    BOOTSTRAP_API_KEY: API_KEY,
    RATE_LIMIT: '0',
    LOG_LEVEL: 'warn',
    ...settings,
  }
  return launch(join(ROOT, 'infra/local/start.ts'), environment, /API +(http\S+)/)
}

const ownEnvironment = (databaseUrl: string) => ({
  PATH: process.env.PATH,
  DATABASE_URL: databaseUrl,
  PORT: '0',
  HOST: '127.0.0.1',
  ACCESS_LOG: '0',
  NODE_OPTIONS,
})

const START_MS = 60_000

/** The output goes into a file, like a container's: reading it from a pipe would cost this process as much as the server. */
async function launch(file: string, env: NodeJS.ProcessEnv, urlPattern: RegExp): Promise<RunningServer> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-bench-'))
  const log = join(folder, 'log')
  const output = await open(log, 'w')
  const child = spawn(process.execPath, [file], { env, stdio: ['ignore', output.fd, output.fd] })
  const exit = once(child, 'exit')
  await output.close()
  const stop = closeLater(async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await exit.finally(() => clearTimeout(timer))
    await rm(folder, { recursive: true, force: true })
  })
  const deadline = performance.now() + START_MS
  for (;;) {
    const text = await readFile(log, 'utf8')
    const url = urlPattern.exec(text)?.[1]
    if (url !== undefined) return { port: Number(new URL(url).port), pid: child.pid ?? 0, stop }
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${file} does not listen:\n${text}`)
    await sleep(20)
  }
}
