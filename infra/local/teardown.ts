import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { onStopSignal } from '#function/stop-signals'

export interface Teardown {
  /** Aborted once a stop is requested. */
  signal: AbortSignal
  /** Resolves when a stop is requested, by a signal or by an uncaught error. */
  requested(): Promise<void>
  /** Adds a step to run at the end, before all steps added earlier. The teardown waits for it for at most `limitMs`. */
  add(what: string, step: () => Promise<unknown>, limitMs?: number): void
  /** Reports an error, unless a requested stop has caused it, and requests a stop. */
  fail(error: unknown): void
  /** Runs the steps. Returns the exit code. */
  run(): Promise<number>
}

/** The limit for all steps. It includes the 20 s that PostgreSQL gets before it is killed. */
const TOTAL_MS = 30_000

interface Step {
  what: string
  take: () => Promise<unknown>
  limitMs: number
}

/** Listens for the signals that end the process, and stops what was started, in reverse order. */
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
    // Every wait that a stop interrupts rejects with this error.
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
