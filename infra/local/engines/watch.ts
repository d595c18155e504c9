import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** As much as tells why a server did not start. */
const OUTPUT_MAX = 4_000
const STOP_MAX_MS = 5_000

export interface Watched {
  /** The last of what it has written. */
  output: () => string
  hasEnded: () => boolean
  /** Resolves with its end: its own `exit`, or `close`, for which whatever it has started has to end as well. */
  ended: Promise<unknown>
  /** SIGTERM, SIGKILL where that is not enough for 5 s, and the wait for its end. */
  stop: () => Promise<void>
}

/** Keeps what a child process writes, and notices its end, also where it could not be started at all. */
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
