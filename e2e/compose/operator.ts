import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { environment } from '#config'
import type { Compose } from './compose.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const RUNBOOKS = 'docs/runbooks/'
/** Files that a clone does not have, and the packages, which a link replaces. */
const NOT_CLONED = ['.git', '.local', '.env', 'backup.env', 'dist', 'node_modules']
/** A roll of every function takes some minutes on two cores, and images may have to be built. */
const COMMANDS_MS_MAX = 20 * 60_000

/** An operator in a clone of the project, with its own secrets in `.env`, who types the commands of the runbooks. */
export interface Operator {
  /** Runs commands in a shell, after those that every runbook begins with. Stops at the first failure. Returns their output. */
  enter: (commands: string) => Promise<string>
  /** Returns the commands of a runbook after a heading or another line, up to the next heading: one text for each code block. */
  commandsOf: (page: string, after: string) => Promise<string[]>
  /** Returns the value of a variable in `.env`. Commands may change that file. */
  settingOf: (name: string) => Promise<string>
  /** Removes the clone, and everything of the project in the container engine. */
  leave: () => Promise<void>
}

/** Makes an operator. `alsoBefore` are commands of a page that run before all others. */
export async function openOperator(
  { project, settings }: Compose,
  ...alsoBefore: ReadonlyArray<readonly [page: string, after: string]>
): Promise<Operator> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-operator-'))
  const isCloned = (path: string) => !NOT_CLONED.some((name) => path === join(root, name))
  await cp(root, folder, { recursive: true, filter: isCloned })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  const variables = Object.entries({ ...settings, COMPOSE_PROJECT_NAME: project })
  await writeFile(join(folder, '.env'), variables.map(([name, value]) => `${name}=${value}\n`).join(''))

  async function commandsOf(page: string, after: string): Promise<string[]> {
    const [, rest = ''] = (await readFile(join(root, RUNBOOKS, page), 'utf8')).split(`${after}\n`)
    const [section = ''] = rest.split(/^## /m)
    const blocks = Array.from(section.matchAll(/^```sh\n(.*?)^```/gms), ([, block = '']) => block)
    if (blocks.length === 0) throw new Error(`${page} has no commands after '${after}'`)
    return blocks
  }

  const first = [
    'README.md',
    'The commands are those of `docker-compose.yml`. First, in the folder of the project:',
  ] as const
  const before = (await Promise.all([first, ...alsoBefore].map(([page, after]) => commandsOf(page, after)))).flat()

  async function enter(commands: string): Promise<string> {
    const { PATH, HOME, DOCKER_HOST, DOCKER_CONTEXT } = environment()
    const script = ['set -eo pipefail', ...before, commands].join('\n')
    const env = { PATH, HOME, DOCKER_HOST, DOCKER_CONTEXT }
    const running = promisify(execFile)('bash', ['-c', script], { cwd: folder, env, timeout: COMMANDS_MS_MAX })
    const { stdout } = await running.catch((error: Error & { stdout?: string; stderr?: string }) => {
      throw new Error(`${commands}\n${error.stdout}\n${error.stderr || error.message}`)
    })
    return stdout.trim()
  }

  return {
    enter,
    commandsOf,
    async settingOf(name) {
      const lines = (await readFile(join(folder, '.env'), 'utf8')).split('\n')
      return lines.findLast((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? ''
    },
    async leave() {
      await enter('docker compose down --volumes --rmi local --remove-orphans --timeout 5')
      await rm(folder, { recursive: true, force: true })
    },
  }
}
