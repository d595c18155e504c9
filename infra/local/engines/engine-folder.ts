import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { processesNaming, signalAll } from '../processes.ts'
import { waitUntil } from '../waits.ts'

const KILLED_MS = 5_000

export interface EngineFolder {
  path: string
  /** Removes a temporary folder, and keeps a named one. */
  leave: () => Promise<void>
}

/**
 * Opens an engine's data folder: the one at `path`, or else a temporary one. First kills processes of the engine's `programs` that an
 * earlier run has left in the folder. Throws if such a process can't be killed.
 */
export async function openFolder(name: string, programs: readonly string[], path?: string): Promise<EngineFolder> {
  if (path === undefined) {
    const scratch = await mkdtemp(join(tmpdir(), `stock-${name}-`))
    return { path: scratch, leave: () => rm(scratch, { recursive: true, force: true }) }
  }
  await mkdir(path, { recursive: true })
  const isFree = await waitUntil(() => {
    const left = processesNaming(path, programs)
    // No engine loses acknowledged data when it is killed.
    signalAll(left, 'SIGKILL')
    return left.length === 0
  }, KILLED_MS)
  if (!isFree)
    throw new Error(
      `Process ${processesNaming(path, programs).join(', ')} of ${path} can't be killed: end it, then start again.`,
    )
  return { path, leave: async () => {} }
}
