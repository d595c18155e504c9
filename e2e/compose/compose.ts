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

/** A separate project, on free ports and with its own secrets: it disturbs no other project. */
export interface Compose {
  url: string
  key: string
  project: string
  /** The variables that `.env` contains for a project, including secrets. */
  settings: Record<string, string>
  /** Runs `docker compose …` and returns its output. If it fails, throws an error with the end of the output. */
  run: (...args: string[]) => Promise<string>
  /** Runs `npm run NAME -- …` on this project and returns its output. If it fails, throws an error with the output. */
  script: (name: string, ...args: string[]) => Promise<string>
  /** Writes the containers' logs into `.local/compose-logs`. */
  keepLogs: () => Promise<void>
  /** Runs a statement in the primary, or in the replica. Returns its rows, unaligned. */
  sql: (statement: string, service?: 'postgres-primary' | 'postgres-replica') => Promise<string>
}

/** Returns why there is no container engine with Compose, or undefined if there is one. In CI, a missing engine is an error. */
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

/** Makes a project. `more` are settings in addition to those of every project. */
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
      // Before the first test, nothing else would keep the logs.
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

/** Runs `docker …`. Throws an error with the end of its output if it fails or takes too long. */
export function docker(args: string[], settings: Record<string, string> = {}): Promise<string> {
  return runDocker(args, { env: { ...engineVariables(), ...settings } })
}

/**
 * Pauses a container. If processes start at that moment, as in a busy PostgreSQL, the engine may fail to freeze all of them. It then lets
 * the others continue, and this asks again. Throws the engine's last error.
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
