import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lockFolder } from '../../local/folder-lock.ts'
import { findPrograms } from '../../local/postgres/programs.ts'
import { DATABASE } from '../../local/postgres/replication.ts'
import { type Mark, markRestored } from '../restore/mark.ts'
import { onPrivateServer } from '../restore/private-server.ts'
import { type Copy, damageOf, dataOf } from './backups.ts'
import { copyFolder } from './copy.ts'

/** So that its recovery ends on a timeline of its own: tokens and positions of the forgotten time are not taken for its own. */
const recovery = { restore_command: 'false', recovery_target_timeline: 'current' }

/**
 * Puts a copy in the place of the embedded primary's data, which is kept in `superseded`; the next start makes a new replica. The copy is
 * checked first, and recovered and marked before it is put there, so whatever fails before leaves all as it was. Throws FolderInUse while
 * the stack runs.
 */
export async function restoreCopy(dataDir: string, copy: Copy, progress: (line: string) => void): Promise<Mark> {
  const postgres = join(dataDir, 'postgres')
  const locks = [await lockFolder(dataDir), await lockFolder(postgres)]
  const restored = join(postgres, 'restored')
  try {
    progress(`checking backup ${copy.name}`)
    const damage = await damageOf(dataDir, copy)
    if (damage.length > 0) throw new Error(damage.join('\n'))
    progress('copying it back')
    await rm(restored, { recursive: true, force: true })
    await copyFolder(dataOf(dataDir, copy.name), restored)
    await writeFile(join(restored, 'recovery.signal'), '')
    const programs = await findPrograms(postgres)
    await programs.own(restored)
    progress('recovering it')
    const server = { folder: restored, programs, more: recovery, progress }
    const mark = await onPrivateServer(server, (running) => markRestored(running.url(DATABASE), copy.endedAt))
    await putInPlace(postgres, restored)
    return mark
  } finally {
    await rm(restored, { recursive: true, force: true })
    for (const lock of locks) await lock.release()
  }
}

async function putInPlace(postgres: string, restored: string): Promise<void> {
  const primary = join(postgres, 'primary')
  const superseded = join(postgres, 'superseded')
  await rm(join(postgres, 'replica'), { recursive: true, force: true })
  await rm(superseded, { recursive: true, force: true })
  await rename(primary, superseded).catch((error: NodeJS.ErrnoException) => {
    // It is what was lost.
    if (error.code !== 'ENOENT') throw error
  })
  await rename(restored, primary)
}
