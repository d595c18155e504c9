import { pause } from './waits.ts'

export interface Loop {
  /** Begins no further round. Resolves when the one under way is over. */
  stop: () => Promise<void>
  /** True from the call of `stop` on. */
  isStopped: () => boolean
}

/**
 * Runs `round` again and again, never two at a time, and waits after each for as many milliseconds as it gives. It must not throw: it
 * knows what its failures mean. `ref: false`: a wait keeps no process from ending.
 */
export function startLoop(round: () => Promise<number>, { firstPauseMs = 0, ref = true } = {}): Loop {
  const stopping = new AbortController()
  const { signal } = stopping
  const run = async () => {
    if (firstPauseMs > 0) await pause(firstPauseMs, signal, { ref })
    while (!signal.aborted) {
      const pauseMs = await round()
      await pause(pauseMs, signal, { ref })
    }
  }
  const running = run()
  return {
    async stop() {
      stopping.abort()
      await running
    },
    isStopped: () => signal.aborted,
  }
}
