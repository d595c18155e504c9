import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Stack } from '../infra/local/stack-file.ts'

export interface OwnStack {
  url: string
  key: string
  metricsUrl: string
  databaseUrl: string
  /** Returns the last lines that it wrote, without log lines that are irrelevant to a failure. */
  tail: () => string
  /** Returns the lines of its log, from level debug on. */
  log: () => string[]
  /** Stops it and removes its data. Does not throw if the stack has already ended. */
  stop: () => Promise<void>
}

/** A first start initialises a database and a replica: 5 s on an idle laptop, several times that on a busy build machine. */
const START_MS_MAX = 120_000
/** The stack's own limit is 30 s. */
const STOP_MS_MAX = 40_000
const TAIL_LINES_MAX = 40
const KEY = 'dev-admin-key'
const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Settings that would make the stack use other data or servers than its own. */
const FOREIGN_SETTINGS = ['DATABASE_URL', 'DATABASE_REPLICA_URL', 'CACHE_URL', 'EVENTS_URL', 'JOBS_URL', 'RATE_LIMIT']

/**
 * Starts a stack on a free port with the demo catalogue, with more settings if given. Its folder is removed with it. If it does not start,
 * throws an error with its output.
 */
export async function startOwnStack(
  signal: AbortSignal,
  settings: Record<string, string | undefined> = {},
): Promise<OwnStack> {
  const dataDir = await mkdtemp(join(tmpdir(), 'stock-e2e-'))
  const child = spawn(process.execPath, ['--import', 'tsx', 'infra/local/start.ts'], {
    cwd: ROOT,
    env: { ...environmentOf(dataDir), ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines = keepLines(child)
  const tail = () =>
    lines
      .filter((line) => !/^\{"level":"(info|debug)"/.test(line))
      .slice(-TAIL_LINES_MAX)
      .join('\n')
  const log = () => lines.filter((line) => line.startsWith('{'))
  const stop = async () => {
    await end(child)
    await rm(dataDir, { recursive: true, force: true })
  }
  try {
    const stack = await waitForStack(child, join(dataDir, 'stack.json'), signal)
    return { ...stack, key: KEY, tail, log, stop }
  } catch (error) {
    await stop()
    if (signal.aborted) throw error
    throw new Error(`${(error as Error).message}\nIts output ended with:\n${tail()}`, { cause: error })
  }
}

function environmentOf(dataDir: string): NodeJS.ProcessEnv {
  const own = { HOST: '127.0.0.1', PORT: '0', DATA_DIR: dataDir, SEED: '1', BOOTSTRAP_API_KEY: KEY, LOG_LEVEL: 'debug' }
  const inherited = Object.entries(process.env).filter(([name]) => !FOREIGN_SETTINGS.includes(name))
  return { ...Object.fromEntries(inherited), ...own }
}

async function waitForStack(child: ChildProcess, stackFile: string, signal: AbortSignal) {
  const deadline = performance.now() + START_MS_MAX
  while (performance.now() < deadline) {
    signal.throwIfAborted()
    if (hasEnded(child)) throw new Error(`The stack ended with ${child.exitCode ?? child.signalCode} before it was up.`)
    const stack = await readFile(stackFile, 'utf8').catch(() => undefined)
    if (stack !== undefined) {
      const { routerUrl, metricsUrl, databaseUrl } = JSON.parse(stack) as Stack
      return { url: routerUrl, metricsUrl, databaseUrl }
    }
    await delay(100)
  }
  throw new Error(`The stack was not up within ${START_MS_MAX / 1000} s.`)
}

function keepLines(child: ChildProcess): string[] {
  const lines: string[] = []
  for (const input of [child.stdout, child.stderr]) {
    if (input) createInterface({ input }).on('line', (line) => lines.push(line))
  }
  return lines
}

async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return
  const ended = once(child, 'exit')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
  child.kill('SIGTERM')
  await ended
  clearTimeout(timer)
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}
