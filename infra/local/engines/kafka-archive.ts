import { mkdtemp, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../ports.ts'
import { settlesWithin } from '../waits.ts'
import { exists } from './debian.ts'
import { type Broker, prepareFolder, QUICK_COMPILER, spawnBroker, untilUp } from './kafka-broker.ts'
import type { KafkaFiles } from './kafka-jars.ts'
import { propertiesOf } from './kafka-properties.ts'

/** A clean shutdown takes 5 s, and writing the archive takes 4 s of CPU time. */
const END_MAX_MS = 60_000
const NEW_ARCHIVE = 'classes.jsa'

/**
 * Makes the archive of the classes that a broker loads, unless there is one. With it a broker starts with half the work, so its 8 s of CPU
 * time pay off from the fifth start on. A broker in a separate folder makes it, and it is complete once it has its final name. Kafka also
 * starts without it, so a failure is only reported. https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
 */
export async function ensureArchive(files: KafkaFiles, progress: (line: string) => void): Promise<void> {
  if (await exists(files.archive)) return
  progress('archiving its classes, once for this user, so that it starts faster')
  let folder: string | undefined
  try {
    // Beside the archive, so that both are on the same file system.
    folder = await mkdtemp(`${files.archive}-unfinished-`)
    await archiveIn(folder, files, progress)
    await rename(join(folder, NEW_ARCHIVE), files.archive)
  } catch (error) {
    progress(`it starts without an archive of its classes, because ${(error as Error).message}`)
  } finally {
    if (folder) await rm(folder, { recursive: true, force: true })
  }
}

async function archiveIn(folder: string, files: KafkaFiles, progress: (line: string) => void): Promise<void> {
  const port = await freePort()
  await prepareFolder(files, folder, propertiesOf(port, port, await freePort()))
  const broker = await spawnBroker(files, folder, [QUICK_COMPILER, `-XX:ArchiveClassesAtExit=${NEW_ARCHIVE}`])
  try {
    await untilUp(broker, port, progress)
    // Java writes the archive during an orderly exit.
    await settlesWithin(broker.end('SIGTERM'), END_MAX_MS)
  } finally {
    await broker.end('SIGKILL')
  }
  await sync(join(folder, NEW_ARCHIVE), broker)
}

/** Java crashes on a truncated archive, so the archive must be on the disk before it gets its final name. */
async function sync(file: string, broker: Broker): Promise<void> {
  const handle = await open(file).catch(() => {
    throw new Error(`Java has written none: ${broker.output()}`)
  })
  await handle.sync()
  await handle.close()
}
