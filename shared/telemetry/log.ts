import pino, { type Logger } from 'pino'
import { environment } from '#config'

export type { Logger }

let root: Logger | undefined

/** The process's logger: JSON lines on stdout, `LOG_LEVEL` from the environment (default `info`). */
export function logger(): Logger {
  root ??= pino({
    level: environment().LOG_LEVEL ?? 'info',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: ['authorization', 'key', 'secret', '*.authorization'],
  })
  return root
}
