import { execFile, spawn } from 'node:child_process'
import { chmod, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../ports.ts'
import { waitUntil } from '../waits.ts'
import { installPackages } from './debian.ts'
import { openFolder } from './engine-folder.ts'
import { watch } from './watch.ts'

const run = promisify(execFile)

const START_MAX_MS = 10_000
/** PgBouncer refuses to run as root. Debian's package depends on PostgreSQL's package, which creates this user. */
const USER = 'postgres'

/** Ensures that there is PgBouncer: installs Debian's package if it is missing and this is root on Debian. Returns its version. */
export async function ensurePgBouncer(progress: (line: string) => void): Promise<string> {
  const present = await version()
  if (present) return present
  await installPackages(['pgbouncer'], progress)
  const installed = await version()
  if (installed) return installed
  throw new Error('there is no pgbouncer: install it (apt-get install pgbouncer, brew install pgbouncer)')
}

async function version(): Promise<string | undefined> {
  const { stdout } = await run('pgbouncer', ['--version']).catch(() => ({ stdout: '' }))
  return /PgBouncer (\S+)/.exec(stdout)?.[1]
}

/** Starts a PgBouncer in transaction mode, with its other defaults, in front of the server of `url`. The result's `url` leads through it. */
export async function startPgBouncer(url: string, settings: Record<string, string> = {}) {
  const { hostname, port, username, password } = new URL(url)
  const at = await freePort()
  const folder = await openFolder('pgbouncer', ['pgbouncer'])
  const users = join(folder.path, 'users.txt')
  const file = join(folder.path, 'pgbouncer.ini')
  const options = {
    listen_addr: '127.0.0.1',
    listen_port: at,
    unix_socket_dir: '',
    auth_type: 'scram-sha-256',
    auth_file: users,
    pool_mode: 'transaction',
    ...settings,
  }
  const lines = Object.entries(options).map(([name, value]) => `${name} = ${value}`)
  await writeFile(users, `"${username}" "${decodeURIComponent(password)}"\n`)
  await writeFile(file, ['[databases]', `* = host=${hostname} port=${port}`, '[pgbouncer]', ...lines, ''].join('\n'))
  // PgBouncer reads these files as another user.
  await chmod(folder.path, 0o755)
  const child = spawn('pgbouncer', [...(process.getuid?.() === 0 ? ['-u', USER] : []), file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { output, hasEnded, stop: end } = watch(child)
  const stop = async () => {
    await end()
    await folder.leave()
  }
  await waitUntil(async () => hasEnded() || (await listens(at)), START_MAX_MS, 10)
  if (hasEnded() || !(await listens(at))) {
    await stop()
    throw new Error(`pgbouncer did not start: ${output()}`)
  }
  const through = new URL(url)
  through.port = String(at)
  return { url: through.href, stop }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('close', () => socket.destroy())
    socket.once('connect', () => socket.end())
  })
}
