import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** Enough output to show why a server did not start. */
const OUTPUT_MAX = 4_000
const STOP_MAX_MS = 5_000

export interface Watched {
  /** The last part of its output. */
  output: () => string
  hasEnded: () => boolean
  /** Resolves when it ends: at its own `exit`, or at `close`, which also waits for all processes that it has started. */
  ended: Promise<unknown>
  /** Sends SIGTERM, then SIGKILL after 5 s if it has not ended, and waits for its end. */
  stop: () => Promise<void>
}

/** Keeps the output of a child process, and notices its end, even if it could not be started at all. */
export function watch(child: ChildProcess, end: 'exit' | 'close' = 'exit'): Watched {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (text) => {
      output = `${output}${text}`.slice(-OUTPUT_MAX)
    })
  }
  const ended = once(child, end).catch((error: Error) => {
    output = error.message
  })
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined
  const stop = async () => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MAX_MS)
    child.kill('SIGTERM')
    if (!hasEnded()) await ended
    clearTimeout(timer)
  }
  return { output: () => output, hasEnded, ended, stop }
}
