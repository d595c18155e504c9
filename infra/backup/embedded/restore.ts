import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lockFolder } from '../../local/folder-lock.ts'
import { findPrograms } from '../../local/postgres/programs.ts'
import { DATABASE } from '../../local/postgres/replication.ts'
import { type Mark, markRestored } from '../restore/mark.ts'
import { onPrivateServer } from '../restore/private-server.ts'
import { type Copy, damageOf, dataOf } from './backups.ts'
import { copyFolder } from './copy.ts'

/** Makes recovery end on a new timeline, so that tokens and positions from the lost time are not taken for the new server's own. */
const recovery = { restore_command: 'false', recovery_target_timeline: 'current' }

/**
 * Replaces the embedded primary's data by a copy, and keeps the old data in `superseded`. The next start makes a new replica. The copy is
 * checked, recovered and marked before it replaces the data, so an earlier failure leaves everything as it was. Throws FolderInUse while
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
    // The primary's data may be missing: they are what was lost.
    if (error.code !== 'ENOENT') throw error
  })
  await rename(restored, primary)
}
