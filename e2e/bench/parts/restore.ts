import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { archiveCommand, createArchive, lastArchived } from '../../../infra/backup/drill/archive.ts'
import { restoredServer, restoreFiles } from '../../../infra/backup/drill/recovery.ts'
import { readRepository } from '../../../infra/backup/repository/repository.ts'
import { waitForPromotion } from '../../../infra/backup/restore/restored.ts'
import { ensurePgBackRest } from '../../../infra/local/engines/pgbackrest.ts'
import { API_KEY, type BenchCluster, type BenchDatabase, DATA_FOLDER } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'
import { httpContender } from '../contenders/contenders.ts'
import { startReserveStock } from '../contenders/servers.ts'
import { productId } from '../dataset.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { ARCHIVE_NOTHING, setArchiveCommand } from './backup.ts'
import { BYTES_A_PRODUCT } from './large.ts'

const ARCHIVED_MAX_MS = 120_000

/**
 * Measures the time from the loss of a database with many products, and with reservations since its backup, to the first reservation that
 * the restored database serves. The lost server keeps running, idle.
 */
export async function measureRestore(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const { folder } = cluster
  // Includes the restored database and the backup.
  const needed = 2.5 * options.largeProducts * BYTES_A_PRODUCT
  const { bavail, bsize } = await statfs(folder)
  if (bavail * bsize < needed) {
    return {
      series: [],
      note: `Left out: it needs ${gigabytes(needed)} of disk; ${gigabytes(bavail * bsize)} are free.`,
    }
  }
  const program = await ensurePgBackRest(progress)
  await setArchiveCommand(cluster, ARCHIVE_NOTHING)
  const database = await cluster.createLargeDatabase(options.largeProducts)
  const archive = await createArchive({ folder, cluster: DATA_FOLDER, url: database.url, program })
  await setArchiveCommand(cluster, archiveCommand(folder, program))

  progress('restore: backing up')
  const backedUpIn = await secondsOf(() => archive.run('backup', '--type=full'))
  const [backup] = (await readRepository(archive.run)).backups
  const server = await startReserveStock(database.url, folder)
  const reservations = httpContender('reserve-stock', database, [server], { ...options, audit: false })
  const { walBytes = 0, ...load } = await reservations.measure({ first: 1, count: options.largeProducts })
  await server.stop()
  await untilArchived(database)

  progress('restore: restoring')
  const restored = join(folder, 'restored')
  const restoredIn = await secondsOf(() => restoreFiles(archive, restored, ['--type=default']))
  const fresh = await restoredServer(archive, restored, { progress, signal: new AbortController().signal })
  const stop = closeLater(() => fresh.stop())
  progress('restore: recovering')
  const recoveredIn = await secondsOf(async () => {
    await fresh.start()
    await waitForPromotion(fresh)
  })
  const servedIn = await secondsOf(() => serveReservation(fresh.url(new URL(database.url).pathname.slice(1)), folder))
  await stop()
  await database.remove()
  const seconds = (value: number) => `${value.toFixed(1)} s`
  const stored = gigabytes(backup?.storedBytes ?? Number.NaN)
  return {
    series: [],
    note: [
      `${gigabytes(backup?.clusterBytes ?? Number.NaN)} with ${options.largeProducts.toLocaleString('en')} products were backed up in ${seconds(backedUpIn)}, to ${stored};`,
      `${gigabytes(walBytes * load.acknowledged)} of log came after it.`,
      `Restored in ${seconds(restoredIn)}, recovered in ${seconds(recoveredIn)}, first reservation ${seconds(servedIn)} later:`,
      `${seconds(restoredIn + recoveredIn + servedIn)} from the loss.`,
    ].join(' '),
  }
}

async function serveReservation(url: string, folder: string): Promise<void> {
  const server = await startReserveStock(url, folder)
  const response = await fetch(`http://127.0.0.1:${server.port}/v1/reservations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ lines: [{ productId: productId(1), quantity: 1 }] }),
  })
  if (response.status !== 201) throw new Error(`the restored database served no reservation: ${await response.text()}`)
  await server.stop()
}

/** Waits until everything written so far is archived. */
async function untilArchived({ url, sql }: BenchDatabase): Promise<void> {
  const [{ segment }] = await sql<[{ segment: string }]>`select pg_walfile_name(pg_switch_wal()) as segment`
  const deadline = performance.now() + ARCHIVED_MAX_MS
  while ((await lastArchived(url)) < segment) {
    if (performance.now() > deadline) throw new Error(`${segment} was not archived within ${ARCHIVED_MAX_MS / 1_000} s`)
    await sleep(200)
  }
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) / 1_000
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`
