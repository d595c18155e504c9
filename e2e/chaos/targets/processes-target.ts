import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { openProxy, type TcpProxy } from '#testing/proxy'
import { buildAll } from '../../../esbuild.config.ts'
import { freePort } from '../../../infra/local/ports.ts'
import { upstreamVariableOf } from '../../../infra/router/manifest.ts'
import { openReceiver } from '../../../infra/testing/support/http/receiver.ts'
import { closeLater } from '../../bench/closing.ts'
import { startNode } from '../../faults/processes.ts'
import { type Action, type Fault, type Part, SLOW_MS } from '../faults.ts'
import { type Engine, startEngineParts } from './engine-parts.ts'
import { FUNCTIONS, OTHERS, WORKERS } from './functions.ts'
import { SKEW_MS } from './skewed-clock.ts'
import { type Supervised, supervise } from './supervised.ts'
import type { Mend, Target } from './target.ts'

const KEY = 'chaos-admin-key-0123456789'
const LOG_LINES_MAX = 400

/** Whether a fault works on processes. Engines end only by SIGKILL and use this machine's clock, workers have no address, and all share the disk. */
export function fitsProcesses({ part, action }: Fault): boolean {
  if (action === 'restart' || action === 'skew') return ['router', 'function', 'worker'].includes(part)
  return action !== 'fill' && !(part === 'worker' && action === 'cut')
}

/** A process or an engine, and the network in front of it. */
interface Broken extends Engine {
  name: string
  proxy?: TcpProxy
  skew?: (ms: number) => Promise<void>
  restart?: () => void
}

/** Starts everything as processes of this machine, each behind a network that can fail. If something is missing, throws an error that names it. */
export async function startProcesses(progress: (line: string) => void): Promise<Target> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'stock-chaos-')))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  const failures: string[] = []
  progress('building the functions')
  const dist = new URL('dist/', pathToFileURL(`${folder}/`))
  await buildAll(dist)
  const fail = (line: string) => void failures.push(line)
  const { engines, settings, directUrl } = await startEngineParts(folder, progress, fail)
  progress('bringing the schema up to date')
  const fileOf = (name: string) => fileURLToPath(new URL(`${name}/index.mjs`, dist))
  await runOnce(fileOf('migrate'), { DATABASE_URL: directUrl, BOOTSTRAP_API_KEY: KEY })
  const start = async (name: string, more: Record<string, string> = {}): Promise<Broken & Supervised> => {
    const file = fileOf(name === 'router' ? name : `functions/${name}`)
    const own = { ...settings, PORT: String(await freePort()), HOST: '127.0.0.1', ...more }
    const supervised = await supervise(name, file, own, fail)
    closeLater(supervised.stop)
    return { name, ...supervised }
  }
  progress(`starting ${FUNCTIONS.length + OTHERS.length + WORKERS.length} functions and the router`)
  const workers = await Promise.all(WORKERS.map((name) => start(name)))
  const served = await Promise.all(
    [...FUNCTIONS, ...OTHERS].map(async (name) => {
      const served = await start(name)
      const proxy = await openProxy(served.url)
      closeLater(proxy.close)
      return { ...served, proxy }
    }),
  )
  const upstreams: Record<string, string> = {}
  for (const { name, proxy } of served) {
    const variable = upstreamVariableOf(name)
    upstreams[variable] = [upstreams[variable], proxy.url].filter((url) => url !== undefined).join()
  }
  const manifest = fileURLToPath(new URL('manifest.json', dist))
  const router = await start('router', { MANIFEST: manifest, METRICS_PORT: '0', ...upstreams })
  const all: Record<Part, Broken[]> = {
    ...engines,
    router: [router],
    function: served.filter(({ name }) => FUNCTIONS.includes(name)),
    worker: workers,
  }
  let listen = (_: string) => {}
  const receiver = await openReceiver(() => {
    listen(receiver.received.pop()?.body ?? '')
    return 204
  })
  closeLater(receiver.close)
  return {
    name: 'processes of this machine',
    url: router.url,
    key: KEY,
    receiverUrl: receiver.url,
    onDelivery: (listener) => {
      listen = listener
    },
    async strike(part, action, which) {
      const hit = all[part][which % all[part].length]
      if (!hit) throw new Error(`there is no ${part}`)
      return { hit: hit.name, mend: await breakIt(hit, action) }
    },
    failures,
    log: async () => [...workers, ...served, router].flatMap(({ name, log }) => tail(name, log())).join('\n'),
  }
}

async function breakIt({ kill, signal, proxy, lag, skew, restart }: Broken, action: Action): Promise<Mend['mend']> {
  const network = (): TcpProxy => proxy ?? unfit(action)
  const mendNetwork = async () => network().mend()
  switch (action) {
    case 'kill':
      kill()
      return async () => {}
    case 'restart':
      ;(restart ?? unfit(action))()
      return async () => {}
    case 'pause':
      signal('SIGSTOP')
      return async () => signal('SIGCONT')
    case 'cut':
      network().cut()
      return mendNetwork
    case 'stall':
      network().silence()
      return mendNetwork
    case 'vanish':
      network().freeze()
      return async () => {
        network().cut()
        network().mend()
      }
    case 'slow':
      network().delay(SLOW_MS)
      return mendNetwork
    case 'lag':
      await (lag ?? unfit(action))('3s')
      return () => (lag ?? unfit(action))('0')
    case 'skew':
      await (skew ?? unfit(action))(SKEW_MS)
      return () => (skew ?? unfit(action))(0)
    case 'fill':
      return unfit(action)
  }
}

function unfit(action: Action): never {
  throw new Error(`this part can't be struck by ${action}`)
}

async function runOnce(file: string, environment: Record<string, string>): Promise<void> {
  const { exit, lines } = startNode(file, environment)
  if ((await exit) !== 0) throw new Error(`${file} failed:\n${lines.join('\n')}`)
}

const tail = (name: string, lines: string[]) =>
  lines
    .filter((line) => !/^\{"level":"(debug|info)"/.test(line))
    .slice(-LOG_LINES_MAX)
    .map((line) => `${name}: ${line}`)
