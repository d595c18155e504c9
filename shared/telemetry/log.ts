import pino, { type Logger } from 'pino'
import { environment } from '#config'
import { counter } from './metrics.ts'

export type { Logger }

/** Characters of log lines that may wait in memory for stdout: about a minute of a busy process. */
const UNWRITTEN_MAX = 4 * 1024 * 1024

const dropped = counter('log_lines_dropped_total', 'Log lines dropped because stdout did not take them.')

let root: Logger | undefined

/**
 * The process's logger: JSON lines on stdout, from `LOG_LEVEL` on (default `info`). It never blocks requests: while nothing reads stdout,
 * lines past 4 MiB are dropped and counted.
 *
 * @example
 * logger().warn({ reason }, 'replica removed from rotation')
 */
export function logger(): Logger {
  root ??= pino(
    {
      level: environment().LOG_LEVEL ?? 'info',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: ['authorization', 'key', 'secret', '*.authorization'],
    },
    openStdout(),
  )
  return root
}

function openStdout() {
  // Not `sync`: a write to a full pipe would block the event loop.
  const stdout = pino.destination({ dest: 1, sync: false, maxLength: UNWRITTEN_MAX })
  stdout.on('drop', () => dropped.inc())
  return stdout
}
