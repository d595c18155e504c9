import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { environment } from '#config'
import { npmScript } from '#testing/npm-script'
import { runDocker } from '../../infra/local/commands/docker.ts'
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
const SCRIPT_MS_MAX = 5 * 60_000
const PAUSE_ATTEMPTS = 10
const PAUSE_RETRY_MS = 200

/** A project of its own, on free ports, with secrets of its own: it disturbs no other project. */
export interface Compose {
  url: string
  key: string
  project: string
  /** What `.env` has of a project, secrets included. */
  settings: Record<string, string>
  /** `docker compose …`; gives what it writes. Throws with the end of that where it fails. */
  run: (...args: string[]) => Promise<string>
  /** `npm run NAME -- …` on this project; gives what it writes. Throws with that where it fails. */
  script: (name: string, ...args: string[]) => Promise<string>
  /** Writes what the containers have said into `.local/compose-logs`. */
  keepLogs: () => Promise<void>
  /** Runs a statement in the primary, or in the replica. Gives its rows, unaligned. */
  sql: (statement: string, service?: 'postgres-primary' | 'postgres-replica') => Promise<string>
}

/** Why there is no engine to run containers; undefined where there is one, with Compose. In CI that is an error. */
export async function engineMissing(): Promise<string | undefined> {
  try {
    await promisify(execFile)('docker', ['compose', 'ls', '--quiet'])
    return undefined
  } catch (thrown) {
    if (environment().CI) throw thrown
    const { code, message, stderr } = thrown as Error & { stderr?: string; code?: unknown }
    return code === 'ENOENT' ? 'there is no docker' : (stderr?.trim().split('\n').at(-1) ?? message)
  }
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
  const ask = (...args: string[]) =>
    docker(['compose', '--project-name', project, '--progress', 'plain', ...args], settings)
  const keepLogs = async () => {
    const folder = `${root}.local/compose-logs`
    await mkdir(folder, { recursive: true })
    await writeFile(`${folder}/${project}.log`, await ask('logs', '--no-color', '--timestamps'))
  }
  const run = async (...args: string[]) => {
    try {
      return await ask(...args)
    } catch (error) {
      // Before the first test there is nobody else who would.
      if (args[0] === 'up') await keepLogs().catch(() => {})
      throw error
    }
  }
  return {
    url: `http://127.0.0.1:${port}`,
    key,
    project,
    settings,
    run,
    async script(name, ...args) {
      const [file, ...words] = npmScript(name)
      const env = { ...engineVariables(), ...settings, COMPOSE_PROJECT_NAME: project }
      const { stdout } = await promisify(execFile)(file, [...words, ...args], {
        cwd: root,
        env,
        timeout: SCRIPT_MS_MAX,
      })
      return stdout.trim()
    },
    keepLogs,
    sql: (statement, service = 'postgres-primary') =>
      run('exec', '-T', service, 'psql', '-U', 'postgres', '-d', 'stock', '-XAtq', '-c', statement),
  }
}

/** `docker …`. Throws with the end of its output where it fails, or takes too long. */
export function docker(args: string[], settings: Record<string, string> = {}): Promise<string> {
  return runDocker(args, { env: { ...engineVariables(), ...settings } })
}

/**
 * Has a container stand still. Of processes that are made just then, as in a busy PostgreSQL, the engine may not get hold of all: it lets the
 * others go on, and is asked again. Throws what it says at last.
 */
export async function pause(container: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await docker(['pause', container])
      return
    } catch (error) {
      if (attempt === PAUSE_ATTEMPTS || !(error as Error).message.includes('unable to freeze')) throw error
      await sleep(PAUSE_RETRY_MS)
    }
  }
}

function engineVariables() {
  const { PATH, HOME, DOCKER_HOST, DOCKER_CONTEXT } = environment()
  return { PATH, HOME, DOCKER_HOST, DOCKER_CONTEXT }
}
