import { chmodSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { birthOf } from '../local/processes.ts'

const MEMORY = '/dev/shm'
const PREFIX = 'stock-tests-'
/** Three times the most space that all tests together have used there. */
const BYTES_MIN = 6 * 2 ** 30

/**
 * Makes this process and its children keep temporary files in memory if Linux has the room, unless TMPDIR is set. A data folder of
 * PostgreSQL is a thousand small files: on a disk, making and removing them is a tenth of the cost of the tests. The folder is removed
 * when this process ends. The next run removes the folder of a killed run.
 */
export function useScratchFolder(): void {
  if (process.env.TMPDIR || !hasRoom()) return
  for (const name of readdirSync(MEMORY)) {
    const owner = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length)) : undefined
    if (owner !== undefined && !birthOf(owner)) remove(join(MEMORY, name))
  }
  const folder = join(MEMORY, `${PREFIX}${process.pid}`)
  mkdirSync(folder, { recursive: true })
  // If this process is root, servers run as another user.
  chmodSync(folder, 0o755)
  process.env.TMPDIR = folder
  process.once('exit', () => remove(folder))
}

const remove = (folder: string) => rmSync(folder, { recursive: true, force: true, maxRetries: 3 })

function hasRoom(): boolean {
  try {
    const { bavail, bsize } = statfsSync(MEMORY)
    return Math.min(bavail * bsize, process.availableMemory()) >= BYTES_MIN
  } catch {
    return false
  }
}
