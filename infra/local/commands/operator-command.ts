import { userInfo } from 'node:os'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { shutDown } from '#async'
import { environment } from '#config'
import { type RequestContext, systemContext } from '#database'
import { useRunningStack } from '../running-stack.ts'
import { readSettings } from '../settings.ts'

const LIMIT_MAX = 200

/** An example of an id argument, for messages. */
export const ID_EXAMPLE = '01890a5d-ac96-774b-bcce-b302099a8057'

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Writes the line after the number of seconds since the start of this process. */
export function timed(line: string): void {
  say(`[${(performance.now() / 1_000).toFixed(1).padStart(5)}s] ${line}`)
}

/** The user who is logged in. Their name is recorded with their changes. */
export const operator = (): RequestContext => systemContext(`operator:${userInfo().username}`)

interface Parsed {
  command: string
  ids: string[]
  values: Record<string, string | boolean | undefined>
}

type Options = NonNullable<ParseArgsConfig['options']>
type Work = () => Promise<void>

/** Runs an operator's command like `runCommand`, on the running stack of `npm start`, or else on DATABASE_URL. */
export function runOperatorCommand(usage: string, options: Options, workOf: (parsed: Parsed) => Work): void {
  runCommand(usage, options, (parsed) => onDatabase(workOf(parsed)))
}

/**
 * Runs a command with arguments. `workOf` parses the command, and throws for an invalid one, before anything is done. A failure is reported
 * in a line on stderr, with exit code 1. If no command is given, runs `byDefault`, or else shows the usage.
 */
export function runCommand(
  usage: string,
  options: Options,
  workOf: (parsed: Parsed) => Work,
  byDefault?: string,
): void {
  run(usage, options, workOf, byDefault).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  })
}

/** Makes `work` run on the running stack of `npm start`, or else on DATABASE_URL. */
export function onDatabase(work: Work): Work {
  return async () => {
    const { dataDir, databaseUrl } = readSettings(environment(), { usesKey: false })
    if (!(await useRunningStack(dataDir)) && !databaseUrl) {
      throw new Error('No stack runs here: start one with npm start, or set DATABASE_URL.')
    }
    try {
      await work()
    } finally {
      await shutDown()
    }
  }
}

async function run(
  usage: string,
  options: Options,
  workOf: (parsed: Parsed) => Work,
  byDefault: string | undefined,
): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { ...options, help: { type: 'boolean', short: 'h', default: false } },
  })
  const [command = byDefault, ...ids] = positionals
  if (values.help || command === undefined) {
    process.stdout.write(usage)
    process.exitCode = values.help ? 0 : 1
    return
  }
  await workOf({ command, ids, values: values as Parsed['values'] })()
}

/** Parses the number of rows to list. Throws if it is invalid. */
export function limitOf(limit: unknown): number {
  const count = Number(limit)
  if (Number.isInteger(count) && count >= 1 && count <= LIMIT_MAX) return count
  throw new Error(`--limit must be a whole number from 1 to ${LIMIT_MAX}.`)
}
