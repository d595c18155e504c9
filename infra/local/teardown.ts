import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { onStopSignal } from '#function/stop-signals'

export interface Teardown {
  /** Aborted once a stop was asked for. */
  signal: AbortSignal
  /** Resolves when a stop was asked for, by a signal or by an error that nobody caught. */
  requested(): Promise<void>
  /** A step to take at the end, before all that were added earlier; left to itself after `limitMs`. */
  add(what: string, step: () => Promise<unknown>, limitMs?: number): void
  /** Notes an error, unless it is the echo of a stop that was asked for, and asks for a stop. */
  fail(error: unknown): void
  /** Takes the steps. Answers the exit code. */
  run(): Promise<number>
}

/** All of it, the 20 s that a PostgreSQL gets before it is killed included. */
const TOTAL_MS = 30_000

interface Step {
  what: string
  take: () => Promise<unknown>
  limitMs: number
}

/** Listens for the signals that end the process, and takes what was started down again, last first. */
export function createTeardown(progress: (line: string) => void): Teardown {
  const asked = new AbortController()
  const steps: Step[] = []
  let exitCode = 0

  const ask = () => {
    if (asked.signal.aborted) return progress('still stopping')
    if (steps.length > 0) progress('stopping')
    asked.abort()
    const giveUp = () => {
      progress('not stopped within 30 s: giving up; the next start cleans up')
      process.exit(1)
    }
    setTimeout(giveUp, TOTAL_MS).unref()
  }
  const fail = (error: unknown) => {
    // Every wait that the stop interrupts rejects with this.
    if (asked.signal.aborted && error instanceof Error && error.name === 'AbortError') return
    exitCode = 1
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    if (!asked.signal.aborted) ask()
  }
  onStopSignal(ask, () => progress('still stopping'))
  process.on('uncaughtException', fail)

  return {
    signal: asked.signal,
    requested: async () => {
      if (!asked.signal.aborted) await once(asked.signal, 'abort')
    },
    add: (what, take, limitMs = TOTAL_MS) => steps.push({ what, take, limitMs }),
    fail,
    run: async () => {
      for (const step of steps.reverse()) await take(step, progress).catch(fail)
      return exitCode
    },
  }
}

async function take({ what, take, limitMs }: Step, progress: (line: string) => void): Promise<void> {
  const late = delay(limitMs, 'late', { ref: false })
  if ((await Promise.race([take(), late])) === 'late') progress(`${what} takes too long: going on without`)
}
