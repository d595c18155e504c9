import { spawn } from 'node:child_process'

/** The only stanza. A stanza is pgBackRest's configuration of one cluster. */
export const STANZA = 'stock'

export interface PgBackRestOptions {
  program?: string
  /** Default: pgBackRest's own file, or the one in PGBACKREST_CONFIG. */
  configFile?: string
  /** The account that pgBackRest runs as. It must own the cluster's files and the repository. Default: this process's user. */
  account?: { uid: number; gid: number }
  /** Variables in addition to this process's own. */
  environment?: Record<string, string>
  /** Receives a line for everything that pgBackRest does. */
  onLine?: (line: string) => void
  /** Receives only the warnings, if there is no `onLine`. pgBackRest goes on after a warning, for example if the replica is gone. */
  onWarning?: (line: string) => void
  signal?: AbortSignal
}

/** Runs a command of pgBackRest and returns its output. Throws PgBackRestFailed. */
export type PgBackRest = (command: string, ...args: string[]) => Promise<string>

/** The message is pgBackRest's own, without its time stamps. */
export class PgBackRestFailed extends Error {
  override readonly name = 'PgBackRestFailed'
}

/** Enough for a listing of a million segments. Longer output is cut off and then can't be parsed. */
const OUTPUT_CHARS_MAX = 256 * 1024 * 1024
const ERROR_CHARS_MAX = 8_000

export function pgBackRest({
  program = 'pgbackrest',
  configFile,
  account,
  environment,
  onLine,
  onWarning,
  signal,
}: PgBackRestOptions): PgBackRest {
  // Warnings and errors go to stderr, so that stdout has only the requested output.
  const common = ['--log-level-console=off', `--log-level-stderr=${onLine ? 'info' : 'warn'}`]
  const place = [`--stanza=${STANZA}`, ...(configFile ? [`--config=${configFile}`] : [])]
  return (command, ...args) =>
    new Promise((resolve, reject) => {
      const isOfRepository = command.startsWith('repo-')
      const all = [...(isOfRepository ? place.slice(1) : place), ...common, command, ...args]
      const child = spawn(program, all, {
        ...account,
        ...(signal && { signal }),
        cwd: '/',
        env: { ...process.env, ...environment },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let output = ''
      let errors = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        if (output.length < OUTPUT_CHARS_MAX) output += text
      })
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        errors = (errors + text).slice(-ERROR_CHARS_MAX)
        for (const line of text.split('\n')) {
          if (onLine && isNews(line)) onLine(withoutStamp(line))
          else if (line.includes('WARN: ')) onWarning?.(withoutStamp(line))
        }
      })
      child.on('error', (error: NodeJS.ErrnoException) => {
        const missing = 'there is no pgbackrest: install it (apt-get install pgbackrest)'
        reject(new PgBackRestFailed(error.code === 'ENOENT' ? missing : error.message))
      })
      child.on('close', (code, signal) => {
        if (code === 0) return resolve(output)
        reject(
          new PgBackRestFailed(
            `pgBackRest could not ${command}: ${reasonIn(errors) || `it ended with ${code ?? signal}`}`,
          ),
        )
      })
    })
}

function reasonIn(errors: string): string {
  const lines = errors.trim().split('\n')
  const first = lines.findIndex((line) => line.includes('ERROR:'))
  return lines
    .slice(first === -1 ? -3 : first)
    .map(withoutStamp)
    .join('\n')
}

/** Leaves out the lines about a command's begin and end, which repeat all of its options. */
const isNews = (line: string) => line.trim() !== '' && !/: \S+ command (begin|end)/.test(line)

/** `2026-11-29 12:50:47.650 P00  ERROR: [026]: raised …` without what precedes the message. */
function withoutStamp(line: string): string {
  return line.replace(/^(?:[\d-]+ [\d:.]+ )?(?:P\d\d +)?(?:INFO|WARN|ERROR): +(?:\[\d+\]: )?/, '').trim()
}
