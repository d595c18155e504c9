import { randomInt, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { EngineUrls } from './engines.ts'
import { birthOf } from './processes.ts'

export interface FolderLock {
  release: () => Promise<void>
}

/** Another living process holds the folder. */
export class FolderInUse extends Error {
  override readonly name = 'FolderInUse'
  readonly pid: number
  constructor(folder: string, pid: number) {
    super(`${folder} is in use by process ${pid}: stop it first, or set DATA_DIR to another folder.`)
    this.pid = pid
  }
}

/** A holder that is stopping is waited for this long: its servers need a moment for a last checkpoint. */
const WAIT_MS = 10_000

/**
 * Holds the folder for this process until `release`, or until the process is gone, however it ended. Throws FolderInUse
 * at once while another's stack is up (it wrote stack.json), after `waitMs` when that one is starting or stopping.
 */
export async function lockFolder(folder: string, waitMs = WAIT_MS): Promise<FolderLock> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const holder = await firstHolderOrClaim(folder)
    if (typeof holder !== 'number') return holder
    if (existsSync(stackFile(folder)) || performance.now() >= deadline) throw new FolderInUse(folder, holder)
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
 * Every process claims with a file of its own, then looks whether it is alone: no file is ever taken over, so a stale one
 * can be removed without the race in which two starts both find it stale. Two that claim at once may both step back, and
 * try again after different pauses. Answers the lock, or the process id that is in the way.
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

/** The processes that hold the folder or claim it. Removes the files of processes that are gone. */
async function livingHolders(folder: string, own?: string): Promise<number[]> {
  const holders: number[] = []
  for (const name of await readdir(folder)) {
    const [, pid, birth] = /^lock\.(\d+)\.(\w+)\./.exec(name) ?? []
    if (!pid || name === own) continue
    // An id alone would not do: after a reboot, or 32,768 processes later, it can be any other program's.
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

export interface Stack {
  routerUrl: string
  databaseUrl: string
  databaseReplicaUrl: string | null
  /** Those that are not embedded. */
  engines?: EngineUrls
  pids: { node: number; primary: number | null; replica: number | null }
}

/** Says where the running stack is, database password included, so only the owner may read it. Replaced as a whole. */
export async function writeStackFile(dataDir: string, stack: Stack): Promise<void> {
  const unfinished = `${stackFile(dataDir)}.new`
  await rm(unfinished, { force: true })
  await writeFile(unfinished, `${JSON.stringify(stack, null, 2)}\n`, { mode: 0o600 })
  await rename(unfinished, stackFile(dataDir))
}

/** The stack that is up; undefined where none is: one that was killed has left its file behind. */
export async function readStackFile(dataDir: string): Promise<Stack | undefined> {
  const written = await readFile(stackFile(dataDir), 'utf8').catch(() => undefined)
  if (written === undefined) return undefined
  const stack = JSON.parse(written) as Stack
  return (await livingHolders(dataDir)).includes(stack.pids.node) ? stack : undefined
}

/** Says that the stack is not up, or is about to stop. */
export async function removeStackFile(dataDir: string): Promise<void> {
  await rm(stackFile(dataDir), { force: true })
}

function stackFile(dataDir: string): string {
  return join(dataDir, 'stack.json')
}
