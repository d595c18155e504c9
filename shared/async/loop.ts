import { pause } from './waits.ts'

export interface Loop {
  /** Begins no further round. Resolves when the round under way has ended. */
  stop: () => Promise<void>
  /** True from the call of `stop` on. */
  isStopped: () => boolean
}

/**
 * Runs `round` again and again, one at a time. `round` returns the pause before the next round in milliseconds, and must not throw. With
 * `ref: false`, a pause does not keep the process alive.
 *
 * @example
 * const loop = startLoop(async () => {
 *   await sweep().catch((error) => logger().error({ err: error }, 'could not sweep'))
 *   return jittered(1_000)
 * })
 * onShutdown(loop.stop)
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
