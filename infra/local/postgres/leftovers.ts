import { readFile, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { birthOf, isPostgres, type ServerProcesses, serverProcesses, signalAll, workingFolder } from '../processes.ts'
import { waitUntil } from '../waits.ts'

/** A fast shutdown writes one checkpoint. That takes seconds with a gigabyte of dirty buffers, and there are at most 128 MB. */
const SHUTDOWN_MS = 10_000
/** Backends notice the death of their postmaster at their next wait. Only a backend that is computing goes on longer. */
const ORPHANS_MS = 3_000
const KILLED_MS = 5_000

/**
 * Ends processes that an earlier run left behind in this data folder: a postmaster that outlived node, or the children of a killed
 * postmaster, which still hold its shared memory. Removes a `postmaster.pid` that belongs to no living postgres.
 */
export async function endLeftovers(folder: string, progress: (line: string) => void): Promise<void> {
  const found = serverProcesses(folder)
  if (found.roots.length > 0) {
    progress(`stopping a PostgreSQL left over from an earlier run (process ${found.roots.join(', ')})`)
    signalAll(found.roots, 'SIGINT')
    await waitUntil(() => countOf(serverProcesses(folder)) === 0, SHUTDOWN_MS)
  } else if (found.children.length > 0) {
    progress('waiting for the last processes of a killed PostgreSQL')
    await waitUntil(() => countOf(serverProcesses(folder)) === 0, ORPHANS_MS)
  }
  await killServerProcesses(folder)
  await removeStalePidFile(folder)
}

/** Sends SIGKILL to every process of the data folder. Throws if one still exists 5 s later. */
export async function killServerProcesses(folder: string): Promise<void> {
  const gone = await waitUntil(() => {
    const { roots, children } = serverProcesses(folder)
    signalAll([...roots, ...children], 'SIGKILL')
    return roots.length + children.length === 0
  }, KILLED_MS)
  if (gone) return
  const { roots, children } = serverProcesses(folder)
  throw new Error(
    `Process ${[...roots, ...children].join(', ')} of ${folder} can't be killed: end it, then start again.`,
  )
}

function countOf({ roots, children }: ServerProcesses): number {
  return roots.length + children.length
}

/**
 * PostgreSQL refuses to start if any process has the recorded id, even a zombie or an unrelated process that got the same id later. The
 * file is kept if that process is a living postgres that may use this folder: two servers on one folder would destroy it. Then this
 * throws, since nothing that is done here makes that process end.
 */
async function removeStalePidFile(folder: string): Promise<void> {
  const path = join(folder, 'postmaster.pid')
  const noted = Number.parseInt(await readFile(path, 'utf8').catch(() => ''), 10)
  if (Number.isNaN(noted)) return
  if (birthOf(noted) !== undefined && isPostgres(noted)) {
    const worksIn = workingFolder(noted)
    if (worksIn === undefined) {
      throw new Error(
        `${path} names process ${noted}, a postgres of which can't be seen whether it is of this folder: stop it if it is, else remove the file; then start again.`,
      )
    }
    if (worksIn === (await realpath(folder))) {
      throw new Error(
        `Process ${noted} is a postgres of ${folder} that another user or tool has started: stop it first, or set DATA_DIR to another folder.`,
      )
    }
  }
  await rm(path, { force: true })
}
