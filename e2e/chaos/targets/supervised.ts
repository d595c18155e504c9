import { setTimeout as sleep } from 'node:timers/promises'
import { listeningUrl, type Started, startNode } from '../../faults/processes.ts'
import { skewedClock } from './skewed-clock.ts'

/** A function's process. It is started again whenever it has ended, as with a container's `restart: unless-stopped`. */
export interface Supervised {
  url: string
  /** Sends SIGKILL. */
  kill: () => void
  /** Sends SIGTERM, after which the process drains. */
  restart: () => void
  signal: (name: NodeJS.Signals) => void
  /** Starts the process again with a clock that is off by `ms`. */
  skew: (ms: number) => Promise<void>
  /** Returns every line that its processes wrote. */
  log: () => string[]
  stop: () => Promise<void>
}

const RESTART_MS = 500
const LOG_LINES_MAX = 5_000

/** Starts a process. Calls `fail` at every unexpected end. Throws if the process does not come up the first time. */
export async function supervise(
  name: string,
  file: string,
  settings: Record<string, string>,
  fail: (line: string) => void,
): Promise<Supervised> {
  const lines: string[] = []
  let started: Started | undefined
  let isStopped = false
  let isKilled = false
  let clock: Record<string, string> = {}

  async function start(): Promise<void> {
    isKilled = false
    const own = startNode(file, { ...settings, ...clock })
    started = own
    void own.exit.then(async (code) => {
      lines.push(...own.lines.splice(0))
      lines.splice(0, Math.max(0, lines.length - LOG_LINES_MAX))
      if (isStopped) return
      if (!isKilled) fail(`${name} ended by itself, with ${code}: ${lines.slice(-3).join(' ')}`)
      await sleep(RESTART_MS)
      if (!isStopped) await start().catch(() => {})
    })
    await listeningUrl(own)
  }

  const end = (signal: NodeJS.Signals) => {
    isKilled = true
    started?.process.kill(signal)
  }
  const kill = () => end('SIGKILL')
  await start()
  return {
    url: `http://127.0.0.1:${settings.PORT}`,
    kill,
    restart: () => end('SIGTERM'),
    signal: (signal) => void started?.process.kill(signal),
    async skew(ms) {
      clock = ms === 0 ? {} : skewedClock(ms)
      kill()
    },
    log: () => [...lines, ...(started?.lines ?? [])],
    async stop() {
      isStopped = true
      kill()
      await started?.exit
    },
  }
}
