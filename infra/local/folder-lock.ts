import { randomInt, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { birthOf } from './processes.ts'

/** Written into a locked folder once its stack is up. */
export const STACK_FILE = 'stack.json'

export interface FolderLock {
  release: () => Promise<void>
}

/** Another running process holds the folder. */
export class FolderInUse extends Error {
  override readonly name = 'FolderInUse'
  readonly pid: number
  constructor(folder: string, pid: number) {
    super(`${folder} is in use by process ${pid}: stop it first, or set DATA_DIR to another folder.`)
    this.pid = pid
  }
}

/** How long to wait for a holder that is stopping: its servers need a moment for a last checkpoint. */
const WAIT_MS = 10_000

/**
 * Locks the folder for this process until `release`, or until the process ends in any way. Throws FolderInUse: at once if another
 * process has its stack up (it wrote stack.json), or after `waitMs` if that process is starting or stopping.
 */
export async function lockFolder(folder: string, waitMs = WAIT_MS): Promise<FolderLock> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const holder = await firstHolderOrClaim(folder)
    if (typeof holder !== 'number') return holder
    if (existsSync(join(folder, STACK_FILE)) || performance.now() >= deadline) throw new FolderInUse(folder, holder)
    await delay(randomInt(50, 250))
  }
}

async function firstHolderOrClaim(folder: string): Promise<FolderLock | number> {
  try {
    return (await livingHolders(folder))[0] ?? (await claim(folder))
  } catch (error) {
    throw withAdvice(folder, error)
  }
}

/**
 * Every process claims the folder with its own file, then checks that it is alone. No file is ever taken over, so a stale file can be
 * removed without the race in which two starts both find it stale. Two processes that claim at the same time may both step back, and try
 * again after different pauses. Returns the lock, or the id of the process that holds the folder.
 */
async function claim(folder: string): Promise<FolderLock | number> {
  const name = `lock.${process.pid}.${birthOf(process.pid)}.${randomUUID()}`
  const path = join(folder, name)
  await writeFile(path, '', { flag: 'wx', mode: 0o600 })
  const other = (await livingHolders(folder, name))[0]
  if (other === undefined) return { release: () => rm(path, { force: true }) }
  await rm(path, { force: true })
  return other
}

/** Returns the processes that hold or claim the folder. Removes the files of processes that have ended. */
export async function livingHolders(folder: string, own?: string): Promise<number[]> {
  const holders: number[] = []
  for (const name of await readdir(folder)) {
    const [, pid, birth] = /^lock\.(\d+)\.(\w+)\./.exec(name) ?? []
    if (!pid || name === own) continue
    // An id alone is not enough: after a reboot, or 32,768 processes later, another program can have it.
    if (birthOf(Number(pid)) === birth) holders.push(Number(pid))
    else await rm(join(folder, name), { force: true })
  }
  return holders
}

function withAdvice(folder: string, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') return error
  return new Error(
    `Can't write to ${folder} (was it made by a start as another user?): set DATA_DIR to another folder, or give it to this user.`,
    { cause: error },
  )
}
