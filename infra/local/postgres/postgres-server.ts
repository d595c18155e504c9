import type { ChildProcess } from 'node:child_process'
import { open, rename } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../ports.ts'
import { clusterName } from '../processes.ts'
import { settlesWithin } from '../waits.ts'
import { endLeftovers, killServerProcesses } from './leftovers.ts'
import type { PostgresPrograms } from './programs.ts'
import { answers } from './sql.ts'

export type Role = 'primary' | 'replica'

export interface PostgresServerOptions {
  role: Role
  programs: PostgresPrograms
  folder: string
  logFile: string
  password: string
  /** Default: a free port, which stays the same over restarts. */
  port: number | undefined
  /** Called at each start, since the replica's settings have the primary's port. */
  settings: () => Record<string, string>
  progress: (line: string) => void
  /** Ends waits early. */
  signal: AbortSignal
}

/** A server did not come up. The message ends with the last lines of its log. */
export class StartFailed extends Error {
  override readonly name = 'StartFailed'
}

/** A port that another process took, or a child process that lingers: both are temporary, so ten tries half a second apart are plenty. */
const START_ATTEMPTS_MAX = 10
const RETRY_MS = 500
/** Crash recovery replays up to a gigabyte of WAL, which takes minutes on a slow disk. */
const READY_MS = 300_000
const SHUTDOWN_MS = 20_000
const TAIL_BYTES = 8_192

interface Running {
  child: ChildProcess
  /** Resolves with how it ended. */
  ended: Promise<string>
}

/** One PostgreSQL server: a postmaster that is a child of this process, and that can be started again after it has ended. */
export class PostgresServer {
  port: number | undefined
  /** Called when the server ends without `stop`. */
  onUnexpectedExit: (detail: string) => void = () => {}
  #running: Running | undefined
  readonly #options: PostgresServerOptions

  constructor(options: PostgresServerOptions) {
    this.#options = options
    this.port = options.port
  }

  get pid(): number | null {
    return this.#running?.child.pid ?? null
  }

  url(database: string): string {
    return `postgres://postgres:${this.#options.password}@127.0.0.1:${this.port}/${database}`
  }

  /** Resolves once the server answers queries. Throws StartFailed. */
  async start(): Promise<void> {
    const { folder, progress, role, signal } = this.#options
    const fixedPort = this.port
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted()
      await endLeftovers(folder, progress)
      this.port = fixedPort ?? (await freePort())
      const running = await this.#spawn(this.port)
      if (await this.#becomesReady(running)) return this.#watch(running)
      const log = await this.logTail()
      const reason = passingReason(log, fixedPort)
      if (!reason || attempt === START_ATTEMPTS_MAX) {
        this.port = fixedPort
        throw new StartFailed(`The ${role} did not start (${await running.ended}). Its log ends with:\n${log}`)
      }
      progress(`the ${role} did not start: ${reason}; trying again`)
      await delay(RETRY_MS, undefined, { signal })
    }
  }

  /** Does a fast shutdown, or a kill after 20 s. Leaves no process of the server behind. */
  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    if (running) {
      running.child.kill('SIGINT')
      if (await settlesWithin(running.ended, SHUTDOWN_MS)) return
      this.#options.progress(`the ${this.#options.role} did not stop within 20 s: killing it`)
    }
    await killServerProcesses(this.#options.folder)
  }

  /** Returns the last lines of the current log. Each start begins a new log. */
  async logTail(linesMax = 15): Promise<string> {
    const log = await open(this.#options.logFile)
    try {
      const { size } = await log.stat()
      const { buffer, bytesRead } = await log.read({
        buffer: Buffer.alloc(TAIL_BYTES),
        position: Math.max(0, size - TAIL_BYTES),
      })
      return buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').slice(-linesMax).join('\n')
    } finally {
      await log.close()
    }
  }

  async #spawn(port: number): Promise<Running> {
    const { programs, folder, logFile } = this.#options
    // The previous log is kept: it says why the server had to be started again.
    await rename(logFile, `${logFile}.1`).catch(() => {})
    const log = await open(logFile, 'w', 0o600)
    try {
      const settings = { ...fixedSettings(folder, port), ...this.#options.settings() }
      const pairs = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
      const child = programs.serve(['-D', folder, ...pairs], log.fd)
      const ended = new Promise<string>((resolve) => {
        child.once('error', (error) => resolve(error.message))
        child.once('exit', (code, signal) => resolve(signal ? `killed by ${signal}` : `exit code ${code}`))
      })
      return { child, ended }
    } finally {
      await log.close()
    }
  }

  /** Returns false if the server ended instead. */
  async #becomesReady({ child, ended }: Running): Promise<boolean> {
    const { role, signal } = this.#options
    const deadline = performance.now() + READY_MS
    let over = false
    void ended.then(() => {
      over = true
    })
    try {
      while (!over && !(await answers(this.url('postgres')))) {
        if (performance.now() > deadline) throw new Error('it was not ready within 5 minutes')
        await delay(50, undefined, { signal })
      }
      return !over
    } catch (error) {
      // Another process may have taken the port and given the wrong answer. Then this server ends by itself.
      if (!signal.aborted && (await settlesWithin(ended, 1_000))) return false
      child.kill('SIGINT')
      if (!(await settlesWithin(ended, SHUTDOWN_MS))) await killServerProcesses(this.#options.folder)
      if (signal.aborted) throw error
      throw new StartFailed(
        `The ${role} runs but can't be used: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
  }

  #watch(running: Running): void {
    this.#running = running
    void running.ended.then((detail) => {
      if (this.#running !== running) return
      this.#running = undefined
      this.onUnexpectedExit(detail)
    })
  }
}

function fixedSettings(folder: string, port: number): Record<string, string> {
  return {
    listen_addresses: '127.0.0.1',
    port: String(port),
    // No Unix socket: its path would have to be short, and its folder writable by the server's account.
    unix_socket_directories: '',
    cluster_name: clusterName(folder),
    // No other server and no dump has this setting: functions accept the development key where they find it.
    'stock_management.embedded': 'on',
    timezone: 'UTC',
    log_timezone: 'UTC',
  }
}

/** Returns why another try may succeed, or undefined if it won't. */
function passingReason(log: string, fixedPort: number | undefined): string | undefined {
  if (/could not create any TCP\/IP sockets/.test(log) && fixedPort === undefined) return 'its port was taken meanwhile'
  if (/pre-existing shared memory block/.test(log)) return 'the last processes of a killed server still hold its memory'
  return undefined
}
