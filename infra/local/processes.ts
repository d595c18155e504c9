import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'

/**
 * Identifies a process among all that ever had its id, by its start time and, if known, by the boot in which it was started. Undefined if it
 * has ended. A zombie counts as ended, since it holds nothing but its id.
 */
export function birthOf(pid: number): string | undefined {
  const birth = process.platform === 'linux' ? linuxBirth(pid) : portableBirth(pid)
  return birth && createHash('sha1').update(birth).digest('hex').slice(0, 12)
}

function linuxBirth(pid: number): string | undefined {
  const stat = readOrEmpty(`/proc/${pid}/stat`)
  // The second field is the name in parentheses, which can contain anything. After its last ')' come the state, the parent, …
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, startTicks] = [fields[0], fields[19]]
  if (!startTicks || state === 'Z' || state === 'X') return undefined
  return `${readOrEmpty('/proc/sys/kernel/random/boot_id')} ${startTicks}`
}

function portableBirth(pid: number): string | undefined {
  const line = ps(['-o', 'state=,lstart=', '-p', String(pid)]).trim()
  return line === '' || line.startsWith('Z') ? undefined : line.slice(line.indexOf(' ')).trim()
}

/** The name in the process titles of the servers of this data folder, by which they are found. */
export function clusterName(folder: string): string {
  return `${basename(folder)}-${createHash('sha1').update(folder).digest('hex').slice(0, 12)}`
}

export interface ServerProcesses {
  /** Started with `-D <folder>`: the postmaster, or an initdb that still runs. */
  roots: number[]
  /** The postmaster's children, which outlive it for a moment if it is killed. */
  children: number[]
}

/**
 * Finds the PostgreSQL processes of a data folder by their command lines, which every user may read. The current folder of another user's
 * process is hidden even from root in a container without CAP_SYS_PTRACE.
 */
export function serverProcesses(folder: string): ServerProcesses {
  const title = `postgres: ${clusterName(folder)}: `
  const found: ServerProcesses = { roots: [], children: [] }
  for (const { pid, command } of commandLines()) {
    // To kill(2), zero would mean this process's whole group.
    if (pid === process.pid || pid === 0) continue
    if (ROOTS.some((start) => `${command} `.includes(`${start} -D ${folder} `))) found.roots.push(pid)
    else if (command.startsWith(title)) found.children.push(pid)
  }
  return found
}

/** The programs before the folder in the command lines of its servers. Other programs (a shell, an editor) may name the folder too. */
const ROOTS = ['postgres', 'postgres --single', 'initdb']

/** Finds the processes with this folder, or a path in it, in their command lines. If `programs` is given, only those programs. */
export function processesNaming(folder: string, programs?: readonly string[]): number[] {
  const found = commandLines().filter(
    ({ command }) => names(command, folder) && (!programs || programs.some((program) => isRunBy(command, program))),
  )
  return found.map(({ pid }) => pid).filter((pid) => pid !== process.pid && pid !== 0)
}

/** Matches the folder as a whole, since its name may contain characters that separate the words of a command line. */
function names(command: string, folder: string): boolean {
  const [before = '', ...others] = command.split(folder)
  let start = before
  return others.some((end) => {
    const isWhole = /(^|[ "=:])$/.test(start) && /^($|[/ "])/.test(end)
    start = end
    return isWhole
  })
}

/** A program's path may contain spaces. An option follows its name. */
const isRunBy = (command: string, program: string) =>
  command === program || command.startsWith(`${program} `) || command.includes(`/${program} -`)

/** True if the process with this id runs a program called postgres, with any data folder. */
export function isPostgres(pid: number): boolean {
  const command = commandLines().find((line) => line.pid === pid)?.command ?? ''
  return /(^|\/)postgres[: ]/.test(`${command} `)
}

/** The current folder of a process. For a server, that is its data folder. Undefined if it is not visible. */
export function workingFolder(pid: number): string | undefined {
  if (process.platform !== 'linux')
    return /^n(.+)$/m.exec(print('lsof', ['-a', '-p', String(pid), '-d', 'cwd', '-Fn']))?.[1]
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    // The current folder of another user's process is hidden, even from root in a container without CAP_SYS_PTRACE.
    return undefined
  }
}

interface CommandLine {
  pid: number
  command: string
}

function commandLines(): CommandLine[] {
  if (process.platform === 'linux') {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    return pids.map((name) => ({
      pid: Number(name),
      command: readOrEmpty(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trimEnd(),
    }))
  }
  const lines = ps(['-axo', 'pid=,command=']).split('\n')
  return lines.map((line) => {
    const [, pid, command] = /^\s*(\d+)\s+(.*)$/.exec(line) ?? []
    return { pid: Number(pid ?? 0), command: command ?? '' }
  })
}

/** Sends the signal to those of the processes that still run. */
export function signalAll(pids: number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ESRCH') continue
      throw error
    }
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // The process ended between the listing and the read, or never existed.
    return ''
  }
}

const ps = (args: string[]) => print('ps', args)

function print(program: string, args: string[]): string {
  try {
    const env = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C.UTF-8' }
    return execFileSync(program, args, { encoding: 'utf8', env, timeout: 5_000 })
  } catch {
    // `ps -p` of an absent process exits with 1.
    return ''
  }
}
