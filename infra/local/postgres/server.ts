import type { ChildProcess } from 'node:child_process'
import { open, rename } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../ports.ts'
import { clusterName } from '../processes.ts'
import { within } from '../waits.ts'
import { endLeftovers, killServerProcesses } from './leftovers.ts'
import type { Engine } from './programs.ts'
import { answers } from './sql.ts'

export type Role = 'primary' | 'replica'

export interface ServerOptions {
  role: Role
  engine: Engine
  folder: string
  logFile: string
  password: string
  /** Undefined: one the operating system finds free, kept over restarts. */
  port: number | undefined
  /** Asked for at each start, since the replica's name the primary's port. */
  settings: () => Record<string, string>
  progress: (line: string) => void
  /** Ends waits early. */
  signal: AbortSignal
}

/** A server that did not come up; the message ends with the last lines of its log. */
export class StartFailed extends Error {
  override readonly name = 'StartFailed'
}

/** Another server's stolen port, or a child that lingers: both pass, so ten tries half a second apart are plenty. */
const START_ATTEMPTS_MAX = 10
const RETRY_MS = 500
/** Crash recovery replays up to a gigabyte of WAL; a slow disk needs minutes for that, and then it is not stuck. */
const READY_MS = 300_000
const SHUTDOWN_MS = 20_000
const TAIL_BYTES = 8_192

interface Running {
  child: ChildProcess
  /** Settles with how it ended. */
  ended: Promise<string>
}

/** One PostgreSQL server: a postmaster that is a child of this process, and can be started again after it ended. */
export class Server {
  port: number | undefined
  /** Called when it ends without having been asked to. */
  onUnexpectedExit: (detail: string) => void = () => {}
  #running: Running | undefined
  readonly #options: ServerOptions

  constructor(options: ServerOptions) {
    this.#options = options
    this.port = options.port
  }

  get pid(): number | null {
    return this.#running?.child.pid ?? null
  }

  url(database: string): string {
    return `postgres://postgres:${this.#options.password}@127.0.0.1:${this.port}/${database}`
  }

  /** Resolves once it answers queries. Throws StartFailed. */
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

  /** Fast shutdown, killed after 20 s. No process of it is left. */
  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    if (running) {
      running.child.kill('SIGINT')
      if (await within(running.ended, SHUTDOWN_MS)) return
      this.#options.progress(`the ${this.#options.role} did not stop within 20 s: killing it`)
    }
    await killServerProcesses(this.#options.folder)
  }

  /** The last lines of the current log, which begins anew with each start. */
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
    const { engine, folder, logFile } = this.#options
    // The log before this one stays: it says why the server had to be started again.
    await rename(logFile, `${logFile}.1`).catch(() => {})
    const log = await open(logFile, 'w', 0o600)
    try {
      const settings = { ...fixedSettings(folder, port), ...this.#options.settings() }
      const pairs = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
      const child = engine.serve(['-D', folder, ...pairs], log.fd)
      const ended = new Promise<string>((resolve) => {
        child.once('error', (error) => resolve(error.message))
        child.once('exit', (code, signal) => resolve(signal ? `killed by ${signal}` : `exit code ${code}`))
      })
      return { child, ended }
    } finally {
      await log.close()
    }
  }

  /** False when it ended instead. */
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
      // What answered wrongly may be the stranger that took the port, and then this server is about to end by itself.
      if (!signal.aborted && (await within(ended, 1_000))) return false
      child.kill('SIGINT')
      if (!(await within(ended, SHUTDOWN_MS))) await killServerProcesses(this.#options.folder)
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
    // A socket's path would have to be short, and its folder writable by the account of the server.
    unix_socket_directories: '',
    cluster_name: clusterName(folder),
    // On no other server, and in no dump: functions take the development key where they find this.
    'stock_management.embedded': 'on',
    timezone: 'UTC',
    log_timezone: 'UTC',
  }
}

/** Why a start that failed may work when tried again; undefined when it will not. */
function passingReason(log: string, fixedPort: number | undefined): string | undefined {
  if (/could not create any TCP\/IP sockets/.test(log) && fixedPort === undefined) return 'its port was taken meanwhile'
  if (/pre-existing shared memory block/.test(log)) return 'the last processes of a killed server still hold its memory'
  return undefined
}
