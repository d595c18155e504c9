import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { connect } from 'amqplib'
import { freePort } from '../ports.ts'
import { waitUntil } from '../waits.ts'
import { exists, installPackages } from './debian.ts'
import { openFolder } from './engine-folder.ts'
import { watch } from './watch.ts'

export interface RunningRabbit {
  url: string
  /** The URL of RabbitMQ's own metrics, if it was started with them. */
  metricsUrl: string | undefined
  version: string
  /** A line that describes the running engine. */
  description: string
  stop: () => Promise<void>
  /** Runs rabbitmqctl on it. */
  control: (...args: string[]) => Promise<unknown>
  /** Sends SIGKILL to all of its processes, and waits for their end. */
  kill: () => Promise<void>
  /** Starts it again after a kill, at the same address and with the same data. */
  restart: () => Promise<unknown>
}

/** Debian's command in PATH insists on the user `rabbitmq`. This is the program that it runs. */
const DEBIAN_SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server'
/** A start takes some 5 s on an idle machine: for the Erlang VM, its modules, and the log of queued messages. */
const START_MAX_MS = 60_000
const STOP_MAX_MS = 15_000

/** Characters that RabbitMQ's scripts and Erlang interpret in a folder's name. */
const UNFIT = /["'\\{}]/

const CONFIG = `
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 100MB
`

/** Schedulers that busy-wait for work (+sbwt) would occupy a small machine's cores. The node listens on loopback only. */
const ERLANG_ARGUMENTS =
  '+sbwt none +sbwtdcpu none +sbwtdio none +S 2:2 -kernel inet_dist_use_interface {127,0,0,1} -kernel net_setuptime 5'

/**
 * Ensures that there is a `rabbitmq-server`: installs Debian's package if it is missing and this is root on Debian. Returns its path.
 * Otherwise throws an error that says what to do.
 */
export async function ensureRabbit(progress: (line: string) => void): Promise<string> {
  const present = await findServer()
  if (present) return present
  await installPackages(['rabbitmq-server'], progress)
  const installed = await findServer()
  if (installed) return installed
  throw new Error('there is no rabbitmq-server: install it (apt-get install rabbitmq-server, brew install rabbitmq)')
}

async function findServer(): Promise<string | undefined> {
  if (await exists(DEBIAN_SERVER)) return DEBIAN_SERVER
  const found = await promisify(execFile)('which', ['rabbitmq-server']).catch(() => ({ stdout: '' }))
  return found.stdout.trim() || undefined
}

/**
 * Starts a RabbitMQ with its own Erlang port mapper, on loopback ports and in its own folder. With `withMetrics`, it has the plugin that
 * serves its metrics. Throws an error with its output if it does not come up.
 */
export async function startRabbit(options: { folder?: string; withMetrics?: boolean } = {}): Promise<RunningRabbit> {
  const server = await findServer()
  if (!server) throw new Error('there is no rabbitmq-server')
  if (options.folder && UNFIT.test(options.folder))
    throw new Error(
      `RabbitMQ can't use ${options.folder}: set DATA_DIR to a folder without quotes, braces and backslashes.`,
    )
  const [port, distributionPort, mapperPort] = [await freePort(), await freePort(), await freePort()]
  const metricsPort = options.withMetrics ? await freePort() : undefined
  const folder = await openFolder('rabbit', ['beam.smp', 'epmd'], options.folder)
  const env = await prepare(folder.path, { port, distributionPort, mapperPort, metricsPort })
  const url = `amqp://guest:guest@127.0.0.1:${port}`
  // With this name, the process can be found by the folder.
  const mapper = spawn('epmd', ['-port', String(mapperPort), '-address', '127.0.0.1'], {
    argv0: join(folder.path, 'epmd'),
    stdio: 'ignore',
  })
  mapper.on('error', () => {})
  let node: Node | undefined
  const stop = async () => {
    await node?.end('SIGTERM')
    mapper.kill()
    await folder.leave()
  }
  const start = async () => {
    node = startNode(server, env)
    const version = await untilUp(node, url)
    if (version !== undefined) return version
    await stop()
    throw new Error(`rabbitmq-server did not start: ${node.output()}`)
  }
  const version = await start()
  return {
    url,
    metricsUrl: metricsPort === undefined ? undefined : `http://127.0.0.1:${metricsPort}`,
    version,
    description: `rabbitmq-server on port ${port}, version ${version}`,
    stop,
    control: (...args) => promisify(execFile)(join(dirname(server), 'rabbitmqctl'), args, { env }),
    kill: async () => node?.end('SIGKILL'),
    restart: start,
  }
}

/** The environment of a node that shares no name, port, cookie, data or configuration with another node on this machine. */
async function prepare(
  folder: string,
  ports: { port: number; distributionPort: number; mapperPort: number; metricsPort: number | undefined },
): Promise<NodeJS.ProcessEnv> {
  const files = { config: join(folder, 'rabbitmq.conf'), plugins: join(folder, 'enabled_plugins') }
  await mkdir(join(folder, 'data'), { recursive: true })
  const metrics = `prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = ${ports.metricsPort}\n`
  await writeFile(files.config, ports.metricsPort ? CONFIG + metrics : CONFIG)
  await writeFile(files.plugins, ports.metricsPort ? '[rabbitmq_prometheus].\n' : '[].\n')
  await writeFile(join(folder, '.erlang.cookie'), randomBytes(20).toString('hex'), { mode: 0o600 })
  return {
    PATH: process.env.PATH,
    // Erlang repeats HOME in its command line, so the process can be found by the folder.
    HOME: folder,
    ERL_EPMD_PORT: String(ports.mapperPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    // The data contains this name. Another node of this name is registered at another port mapper.
    RABBITMQ_NODENAME: 'stock@localhost',
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(ports.port),
    RABBITMQ_DIST_PORT: String(ports.distributionPort),
    RABBITMQ_BASE: folder,
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_CONFIG_FILE: files.config,
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
    RABBITMQ_ENABLED_PLUGINS_FILE: files.plugins,
    RABBITMQ_GENERATED_CONFIG_DIR: join(folder, 'generated'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: ERLANG_ARGUMENTS,
  }
}

interface Node {
  output: () => string
  hasEnded: () => boolean
  end: (signal: 'SIGTERM' | 'SIGKILL') => Promise<void>
}

/** Starts the node in its own process group, since there is a shell between this process and the Erlang VM. */
function startNode(server: string, env: NodeJS.ProcessEnv): Node {
  // RabbitMQ writes its crash dump into the current folder.
  const child = spawn(server, { cwd: env.HOME, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  // The streams end with the last process of the group. The shell exits without waiting for that process.
  const { output, hasEnded, ended } = watch(child, 'close')
  return {
    output,
    hasEnded,
    async end(signal) {
      const timer = setTimeout(() => killGroup(child), STOP_MAX_MS)
      if (signal === 'SIGKILL') killGroup(child)
      else child.kill(signal)
      if (child.pid !== undefined) await ended
      clearTimeout(timer)
    },
  }
}

/** Waits until the node answers, and returns its version. Returns undefined if the node ended or did not answer in time. */
async function untilUp(node: Node, url: string): Promise<string | undefined> {
  let version: string | undefined
  const hasResult = async () => {
    version = await versionAt(url)
    return version !== undefined || node.hasEnded()
  }
  await waitUntil(hasResult, START_MAX_MS, 100)
  return version
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Returns the version of the broker at a URL, or undefined while it accepts no connections. */
async function versionAt(url: string): Promise<string | undefined> {
  try {
    const connection = await connect(url, { timeout: 5_000 })
    connection.on('error', () => {})
    const { version } = connection.connection.serverProperties
    await connection.close()
    return version
  } catch {
    return undefined
  }
}
