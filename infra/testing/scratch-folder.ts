import { chmodSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { birthOf } from '../local/processes.ts'

const MEMORY = '/dev/shm'
const PREFIX = 'stock-tests-'
/** Three times what the whole of the tests has had there at most. */
const BYTES_MIN = 6 * 2 ** 30

/**
 * Has this process and its children keep temporary files in memory where Linux has the room, unless TMPDIR says where. A data folder of
 * PostgreSQL is a thousand small files: on a disk, making and removing them is a tenth of what the tests cost. It is removed when
 * this process ends; what a killed run left is removed by the next.
 */
export function useScratchFolder(): void {
  if (process.env.TMPDIR || !hasRoom()) return
  for (const name of readdirSync(MEMORY)) {
    const owner = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length)) : undefined
    if (owner !== undefined && !birthOf(owner)) remove(join(MEMORY, name))
  }
  const folder = join(MEMORY, `${PREFIX}${process.pid}`)
  mkdirSync(folder, { recursive: true })
  // Servers run as another user where this is root.
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
