import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'

/**
 * What tells this process from any other that ever had its id: made from its start time and, where known, the boot it
 * was started in. Undefined when it is gone; a zombie counts as gone, since it holds nothing but its id.
 */
export function birthOf(pid: number): string | undefined {
  const birth = process.platform === 'linux' ? linuxBirth(pid) : portableBirth(pid)
  return birth && createHash('sha1').update(birth).digest('hex').slice(0, 12)
}

function linuxBirth(pid: number): string | undefined {
  const stat = readOrEmpty(`/proc/${pid}/stat`)
  // The second field is the name in parentheses and can hold anything; what follows its last ')' is state, parent, …
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, startTicks] = [fields[0], fields[19]]
  if (!startTicks || state === 'Z' || state === 'X') return undefined
  return `${readOrEmpty('/proc/sys/kernel/random/boot_id')} ${startTicks}`
}

function portableBirth(pid: number): string | undefined {
  const line = ps(['-o', 'state=,lstart=', '-p', String(pid)]).trim()
  return line === '' || line.startsWith('Z') ? undefined : line.slice(line.indexOf(' ')).trim()
}

/** The name a server of this data folder shows in its processes' titles, so that they can be found by it. */
export function clusterName(folder: string): string {
  return `${basename(folder)}-${createHash('sha1').update(folder).digest('hex').slice(0, 12)}`
}

export interface ServerProcesses {
  /** Started with `-D <folder>`: the postmaster, or an initdb that still runs. */
  roots: number[]
  /** The postmaster's children, which outlive it for a moment when it is killed. */
  children: number[]
}

/**
 * The PostgreSQL processes of a data folder. Told by their command lines, which every user may read; the current folder
 * of another user's process is hidden from root too in a container without CAP_SYS_PTRACE.
 */
export function serverProcesses(folder: string): ServerProcesses {
  const title = `postgres: ${clusterName(folder)}: `
  const found: ServerProcesses = { roots: [], children: [] }
  for (const { pid, command } of commandLines()) {
    // Zero would mean this process's whole group to kill(2).
    if (pid === process.pid || pid === 0) continue
    if (`${command} `.includes(` -D ${folder} `)) found.roots.push(pid)
    else if (command.startsWith(title)) found.children.push(pid)
  }
  return found
}

/** The processes that name this folder, or something in it, in their command lines. */
export function processesNaming(folder: string): number[] {
  const mentions = commandLines().filter(({ command }) =>
    `${command} `.split(/[ "=:]/).some((word) => isIn(word, folder)),
  )
  return mentions.map(({ pid }) => pid).filter((pid) => pid !== process.pid && pid !== 0)
}

const isIn = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`)

/** True when the process with this id runs a program called postgres, of whatever data folder. */
export function isPostgres(pid: number): boolean {
  const command = commandLines().find((line) => line.pid === pid)?.command ?? ''
  return /(^|\/)postgres[: ]/.test(`${command} `)
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

/** Sends the signal to every one of them that still lives. */
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
    // The process ended between the listing and the read, or never was.
    return ''
  }
}

function ps(args: string[]): string {
  try {
    return execFileSync('ps', args, { encoding: 'utf8', env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' }, timeout: 5_000 })
  } catch {
    // `ps -p` of an absent process exits with 1.
    return ''
  }
}
