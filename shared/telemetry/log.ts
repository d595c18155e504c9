import pino, { type Logger } from 'pino'
import { environment } from '#config'
import { counter } from './metrics.ts'

export type { Logger }

/** Lines that stdout does not take wait in memory, up to this many characters: about a minute of a busy process. */
const UNWRITTEN_MAX = 4 * 1024 * 1024

const dropped = counter('log_lines_dropped_total', 'Log lines that were dropped because stdout did not take them.')

let root: Logger | undefined

/**
 * The process's logger: JSON lines on stdout, `LOG_LEVEL` from the environment (default `info`). Where stdout is a pipe that is not
 * read, requests go on, and lines past 4 MiB are dropped and counted.
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
  // Not `sync`: a write to a full pipe would hold up the event loop.
  const stdout = pino.destination({ dest: 1, sync: false, maxLength: UNWRITTEN_MAX })
  stdout.on('drop', () => dropped.inc())
  return stdout
}
