import { execFile, spawn } from 'node:child_process'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import { freePort } from '../ports.ts'
import { waitUntil } from '../waits.ts'
import { installPackages } from './debian.ts'
import { openFolder } from './engine-folder.ts'
import { watch } from './watch.ts'

const run = promisify(execFile)

export interface RunningRedis {
  url: string
  pid: number
  /** A line that describes the running engine. */
  description: string
  stop: () => Promise<void>
}

const START_MAX_MS = 10_000

/**
 * Ensures that there is a `redis-server`: installs Debian's package if it is missing and this is root on Debian. Returns its version.
 * Otherwise throws an error that says what to do.
 */
export async function ensureRedis(progress: (line: string) => void): Promise<string> {
  const present = await version()
  if (present) return present
  await installPackages(['redis-server'], progress)
  const installed = await version()
  if (installed) return installed
  throw new Error('there is no redis-server: install it (apt-get install redis-server, brew install redis)')
}

/** Returns, for example, `7.0.15`, or undefined without a server. */
async function version(): Promise<string | undefined> {
  const { stdout } = await run('redis-server', ['--version']).catch(() => ({ stdout: '' }))
  return /v=(\S+)/.exec(stdout)?.[1]
}

/** Starts a Redis on a loopback port, without persistence. Throws an error with its output if it does not come up. */
export async function startRedis({
  port,
  folder: path,
  configuration = {},
}: {
  port?: number
  folder?: string
  /** Settings that are added to the default configuration or replace parts of it. */
  configuration?: Record<string, string>
} = {}): Promise<RunningRedis> {
  const at = port ?? (await freePort())
  const folder = await openFolder('redis', ['redis-server'], path)
  const options = {
    port: at,
    bind: '127.0.0.1',
    dir: folder.path,
    // Keeps the command line as it is: the process is found by the folder in it.
    'set-proc-title': 'no',
    save: '',
    appendonly: 'no',
    databases: 1_024,
    ...configuration,
  }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const { output, hasEnded, stop: end } = watch(child)
  const stop = async () => {
    // A paused process would not react to SIGTERM.
    child.kill('SIGCONT')
    await end()
    await folder.leave()
  }
  await waitUntil(async () => hasEnded() || (await listens(at)), START_MAX_MS, 10)
  if (hasEnded() || !(await listens(at))) {
    await stop()
    throw new Error(`redis-server did not start: ${output()}`)
  }
  return { url: `redis://127.0.0.1:${at}`, pid: child.pid ?? 0, description: `redis-server on port ${at}`, stop }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
