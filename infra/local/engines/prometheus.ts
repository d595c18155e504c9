import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../ports.ts'
import { waitUntil } from '../waits.ts'
import { installPackages } from './debian.ts'
import { openFolder } from './engine-folder.ts'
import { watch } from './watch.ts'

const run = promisify(execFile)

export interface RunningProgram {
  url: string
  stop: () => Promise<void>
}

const START_MAX_MS = 20_000

/** Each program with the Debian package that contains it. */
const packages = {
  prometheus: 'prometheus',
  promtool: 'prometheus',
  'prometheus-postgres-exporter': 'prometheus-postgres-exporter',
}

/** Ensures that there is a program: installs Debian's package if this is root on Debian. Otherwise throws an error that says what to do. */
export async function ensureProgram(name: keyof typeof packages, progress: (line: string) => void): Promise<void> {
  if (await isInstalled(name)) return
  await installPackages([packages[name]], progress)
  if (!(await isInstalled(name))) throw new Error(`there is no ${name}: install it (apt-get install ${packages[name]})`)
}

function isInstalled(name: string): Promise<boolean> {
  return run(name, ['--version']).then(
    () => true,
    () => false,
  )
}

/** Starts a Prometheus on a loopback port, with this YAML configuration. Throws an error with its output if it does not come up. */
export async function startPrometheus(configuration: string): Promise<RunningProgram> {
  const port = await freePort()
  const folder = await openFolder('prometheus', ['prometheus'])
  const file = join(folder.path, 'prometheus.yml')
  await writeFile(file, configuration)
  const options = {
    'config.file': file,
    'storage.tsdb.path': join(folder.path, 'data'),
    'web.listen-address': `127.0.0.1:${port}`,
    'enable-feature': 'exemplar-storage',
  }
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const child = spawn('prometheus', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  return running(child, `http://127.0.0.1:${port}`, '/-/ready', folder.leave)
}

/** Starts the exporter for one PostgreSQL on a loopback port. Throws an error with its output if it does not come up. */
export async function startPostgresExporter(databaseUrl: string): Promise<RunningProgram> {
  const port = await freePort()
  const env = { PATH: process.env.PATH, DATA_SOURCE_NAME: `${databaseUrl}?sslmode=disable` }
  const args = [`--web.listen-address=127.0.0.1:${port}`]
  const child = spawn('prometheus-postgres-exporter', args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  return running(child, `http://127.0.0.1:${port}`, '/metrics')
}

async function running(
  child: ChildProcess,
  url: string,
  readyPath: string,
  leave: () => Promise<void> = async () => {},
): Promise<RunningProgram> {
  const { output, hasEnded, stop: end } = watch(child)
  const stop = async () => {
    await end()
    await leave()
  }
  const isReady = () =>
    fetch(`${url}${readyPath}`).then(
      ({ ok }) => ok,
      () => false,
    )
  if ((await waitUntil(async () => hasEnded() || (await isReady()), START_MAX_MS)) && !hasEnded()) return { url, stop }
  await stop()
  throw new Error(`${child.spawnfile} did not start: ${output()}`)
}
