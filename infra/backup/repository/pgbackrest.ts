import { spawn } from 'node:child_process'

/** The one stanza, as pgBackRest calls what it knows of a cluster. */
export const STANZA = 'stock'

export interface PgBackRestOptions {
  program?: string
  /** Default: its own, which PGBACKREST_CONFIG may name. */
  configFile?: string
  /** Whom it runs as, who must own the cluster's files and the repository. Default: this process's user. */
  account?: { uid: number; gid: number }
  /** Besides this process's own. */
  environment?: Record<string, string>
  /** Told of all that it does. */
  onLine?: (line: string) => void
  /** Told of its warnings alone, where there is no `onLine`: what it says and goes on, as where the replica is gone. */
  onWarning?: (line: string) => void
  signal?: AbortSignal
}

/** Runs a command of pgBackRest and gives what it printed. Throws PgBackRestFailed. */
export type PgBackRest = (command: string, ...args: string[]) => Promise<string>

/** The message is pgBackRest's own, without its time stamps. */
export class PgBackRestFailed extends Error {
  override readonly name = 'PgBackRestFailed'
}

/** A listing of a million segments; what it prints beyond is cut off, and then is not understood. */
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
  // Warnings and errors on stderr, so that stdout has nothing but what a command is asked for.
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

/** A command's beginning and end are told with all of its options. */
const isNews = (line: string) => line.trim() !== '' && !/: \S+ command (begin|end)/.test(line)

/** `2026-11-29 12:50:47.650 P00  ERROR: [026]: raised …` without what precedes the message. */
function withoutStamp(line: string): string {
  return line.replace(/^(?:[\d-]+ [\d:.]+ )?(?:P\d\d +)?(?:INFO|WARN|ERROR): +(?:\[\d+\]: )?/, '').trim()
}
