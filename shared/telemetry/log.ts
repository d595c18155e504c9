import pino, { type Logger } from 'pino'
import * as z from 'zod'
import { defineSettings } from '#config'
import { writeLine } from './stdout.ts'

export type { Logger }

/** The settings of every process's log. Throws a ConfigError. */
export const logSettings = defineSettings(
  z.object({
    LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
    /** `0` omits the line that each request gets at level info. */
    ACCESS_LOG: z.enum(['0', '1']).default('1'),
  }),
)

let root: Logger | undefined

/**
 * The process's logger: JSON lines on stdout, from `LOG_LEVEL` on. It never blocks requests: lines that stdout does not take are dropped and
 * counted.
 *
 * @example
 * logger().warn({ reason }, 'replica removed from rotation')
 */
export function logger(): Logger {
  root ??= pino(
    {
      level: logSettings().LOG_LEVEL,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
      redact: ['authorization', 'key', 'secret', '*.authorization'],
    },
    { write: (line: string) => write(line, false) },
  )
  return root
}

let format = (line: string) => line

/** Makes this process write its lines as `formatLine` returns them, for a person at a terminal. */
export function formatLines(formatLine: (line: string) => string): void {
  format = formatLine
}

/** Writes a line of JSON, with its newline, that may wait 50 ms. For lines that are too frequent for the logger, which costs ten times as much. */
export function writeAccessLine(line: string): void {
  write(line, true)
}

const followers = new Set<(line: string) => void>()

/** Calls `follower` with each line of JSON from now on. Returns the function that ends this. */
export function followLines(follower: (line: string) => void): () => void {
  followers.add(follower)
  return () => followers.delete(follower)
}

function write(line: string, mayWait: boolean): void {
  for (const follow of followers) follow(line)
  writeLine(format(line), mayWait)
}

/** The most causes that are described with an error. */
const CAUSES_MAX = 3

/** Only the members that are fit for a log. Drivers attach more to their errors: statements, their parameters, a URL with its password. */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return String(error)
  const { name, message, stack, cause } = error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const described = { type: name, message, code, stack }
  return cause === undefined || depth === CAUSES_MAX
    ? described
    : { ...described, cause: describeError(cause, depth + 1) }
}
