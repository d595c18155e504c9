import { setTimeout as delay } from 'node:timers/promises'
import type { PostgresServer } from './postgres-server.ts'

export interface Supervision {
  server: PostgresServer
  restartAfterMs: number
  /** Called right before a restart. Returns the reason not to restart, if there is one. */
  mayNotRestart: () => Promise<string | undefined>
  onUnexpectedExit: (detail: string) => void
  onRestarted: () => void
  progress: (line: string) => void
  /** Ends the supervision. */
  signal: AbortSignal
}

/** A server that ends more often has a problem that another restart won't fix. */
const RESTARTS_MAX = 5
const RESTARTS_WINDOW_MS = 10 * 60_000

/** Restarts a server that ends unexpectedly. After `signal`, `settled` waits for a restart that is in progress. */
export function supervise(supervision: Supervision): { settled: () => Promise<void> } {
  const { server, signal } = supervision
  const restarts: number[] = []
  let restarting = Promise.resolve()
  server.onUnexpectedExit = (detail) => {
    if (signal.aborted) return
    restarting = restarting.then(async () => {
      supervision.onUnexpectedExit(`${detail}; its log ends with:\n${await server.logTail(5)}`)
      await restart(supervision, restarts)
    })
    restarting = restarting.catch((error: unknown) => {
      // A stop interrupts the wait or the start; any other error would be an unhandled rejection.
      if (!signal.aborted) supervision.onUnexpectedExit(`the restart failed: ${String(error)}`)
    })
  }
  return { settled: () => restarting }
}

async function restart(supervision: Supervision, restarts: number[]): Promise<void> {
  const { server, signal, restartAfterMs } = supervision
  while (!signal.aborted) {
    const windowStart = performance.now() - RESTARTS_WINDOW_MS
    while (restarts[0] !== undefined && restarts[0] < windowStart) restarts.shift()
    if (restarts.length >= RESTARTS_MAX) {
      return supervision.onUnexpectedExit(`given up after ${RESTARTS_MAX} restarts within 10 minutes`)
    }
    restarts.push(performance.now())
    await delay(restartAfterMs, undefined, { signal })
    const objection = await supervision.mayNotRestart()
    if (objection) return supervision.progress(objection)
    try {
      await server.start()
      return supervision.onRestarted()
    } catch (error) {
      if (signal.aborted) return
      supervision.onUnexpectedExit(error instanceof Error ? error.message : String(error))
    }
  }
}
