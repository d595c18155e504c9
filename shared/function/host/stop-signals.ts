/** npm passes on a Ctrl-C that the terminal has already sent. Within this time, the second signal counts as the same one. */
const ECHO_MS = 500

/**
 * Calls `stop` at the first signal that asks the process to end, and `remind` at each later one: unlike SIGKILL, a second signal does not cut
 * requests in flight. SIGHUP: the terminal was closed.
 */
export function onStopSignal(stop: (signal: NodeJS.Signals) => void, remind: () => void): void {
  let askedAt: number | undefined
  const ask = (signal: NodeJS.Signals) => {
    if (askedAt !== undefined) {
      if (performance.now() - askedAt > ECHO_MS) remind()
      return
    }
    askedAt = performance.now()
    stop(signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, ask)
}
