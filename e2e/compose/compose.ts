import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { environment } from '#config'
import { freePort } from '../../infra/local/ports.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const SECRETS = [
  'POSTGRES_PASSWORD',
  'DATABASE_OWNER_PASSWORD',
  'DATABASE_PASSWORD',
  'DATABASE_KEYS_PASSWORD',
  'DATABASE_MONITOR_PASSWORD',
  'REPLICATION_PASSWORD',
  'REDIS_PASSWORD',
  'RABBITMQ_PASSWORD',
]
/** Images are built in it, the first time. */
const COMMAND_MS_MAX = 15 * 60_000
const TAIL = 30

/** A project of its own, on free ports, with secrets of its own: it disturbs no other project. */
export interface Compose {
  url: string
  key: string
  project: string
  /** `docker compose …`; gives what it writes. Throws with the end of that where it fails. */
  run: (...args: string[]) => Promise<string>
  /** Writes what the containers have said into `.local/compose-logs`. */
  keepLogs: () => Promise<void>
  /** Runs a statement in the primary, or in the replica. Gives its rows, unaligned. */
  sql: (statement: string, service?: 'postgres-primary' | 'postgres-replica') => Promise<string>
}

/** Why there is no engine to run containers; undefined where there is one, with Compose. */
export async function engineMissing(): Promise<string | undefined> {
  return promisify(execFile)('docker', ['compose', 'ls', '--quiet']).then(
    () => undefined,
    (error: Error & { stderr?: string; code?: unknown }) =>
      error.code === 'ENOENT' ? 'there is no docker' : (error.stderr?.trim().split('\n').at(-1) ?? error.message),
  )
}

/** `more`: settings of this project besides those that every one has. */
export async function newCompose(more: Record<string, string> = {}): Promise<Compose> {
  const project = `stock-test-${randomBytes(3).toString('hex')}`
  const port = await freePort()
  const key = randomBytes(24).toString('hex')
  const settings = {
    ...Object.fromEntries(SECRETS.map((name) => [name, randomBytes(24).toString('hex')])),
    BOOTSTRAP_API_KEY: key,
    SEED: '1',
    PORT: String(port),
    RABBITMQ_PORT: String(await freePort()),
    // All load comes from one API key.
    RATE_LIMIT: '100000',
    ...more,
  }
  const run = (...args: string[]) =>
    docker(['compose', '--project-name', project, '--progress', 'plain', ...args], settings)
  return {
    url: `http://127.0.0.1:${port}`,
    key,
    project,
    run,
    async keepLogs() {
      const folder = `${root}.local/compose-logs`
      await mkdir(folder, { recursive: true })
      await writeFile(`${folder}/${project}.log`, await run('logs', '--no-color', '--timestamps'))
    },
    sql: (statement, service = 'postgres-primary') =>
      run('exec', '-T', service, 'psql', '-U', 'postgres', '-d', 'stock', '-XAtq', '-c', statement),
  }
}

/** `docker …`. Throws with the end of its output where it fails, or takes too long. */
export function docker(args: string[], settings: Record<string, string> = {}): Promise<string> {
  const { PATH, HOME, DOCKER_HOST, DOCKER_CONTEXT } = environment()
  const env = { PATH, HOME, DOCKER_HOST, DOCKER_CONTEXT, ...settings }
  return new Promise((resolve, reject) => {
    const child = spawn('docker', args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: COMMAND_MS_MAX })
    let output = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(output.trim())
      const tail = `${output}${errors}`.trim().split('\n').slice(-TAIL).join('\n')
      reject(new Error(`docker ${args.join(' ')} ended with ${signal ?? code}:\n${tail}`))
    })
  })
}
