import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Archive,
  archiveCommand,
  createArchive,
  lastArchived,
  watchPositions,
} from '../../../infra/backup/drill/archive.ts'
import { ensurePgBackRest } from '../../../infra/local/engines/pgbackrest.ts'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { type BenchCluster, type BenchDatabase, DATA_FOLDER } from '../bench-cluster.ts'
import { httpContender } from '../contenders/contenders.ts'
import { startSaleServer } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Measurement } from '../report/measurement.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/** `archive_command` is set later, without a restart: a part begins with a command that costs nothing and keeps nothing. */
export const ARCHIVING_SERVER = { settings: { archive_mode: 'on' } }
export const ARCHIVE_NOTHING = 'true'

/**
 * 3.6 GB: while sales take the cores, one backup of it takes longer than a measurement of 20 s. Each backup begins with a checkpoint, which would
 * weigh more if a measurement had several.
 */
const PRODUCTS = 800_000
const SAMPLE_MS = 1_000
const confirmed = { confirmPercent: 100, releasePercent: 0, extendAndConfirmPercent: 0 }

/**
 * Measures what the archiving of the WAL and a continuous full backup cost the sales of many products. Also measures how much WAL is not
 * yet in the archive: the loss of the disk would lose that much.
 */
export async function measureBackup(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('backup', progress)
  const program = await ensurePgBackRest(progress)
  await setArchiveCommand(cluster, ARCHIVE_NOTHING)
  const database = await cluster.createLargeDatabase(PRODUCTS)
  const { folder } = cluster
  const archive = await createArchive({ folder, cluster: DATA_FOLDER, url: database.url, program })
  const kinds = {
    'nothing archived': { command: ARCHIVE_NOTHING, work: (measuring: Promise<Measurement>) => measuring },
    archived: {
      command: archiveCommand(folder, program),
      work: (measuring: Promise<Measurement>) => watchingArchive(database, measuring),
    },
    'archived, during a backup': {
      command: archiveCommand(folder, program),
      work: (measuring: Promise<Measurement>) => backingUp(archive, measuring),
    },
  }
  for (let round = 1; round <= options.rounds; round++) {
    for (const [kind, { command, work }] of rotated(Object.entries(kinds), round - 1)) {
      await setArchiveCommand(cluster, command)
      const server = await startSaleServer(database.url, folder)
      const sales = httpContender(kind, database, [server], options, { ending: confirmed })
      recorder.note(round, kind, 'sales', await work(sales.measure({ first: 1, count: options.products })))
      await server.stop()
    }
  }
  await setArchiveCommand(cluster, ARCHIVE_NOTHING)
  await database.remove()
  const archived = recorder.series.find(({ contender }) => contender === 'archived')?.measurements ?? []
  const behind = Math.max(...archived.flatMap(({ behindEachSecond = [] }) => behindEachSecond))
  return {
    series: recorder.series,
    note: `At these rates, at most the last ${behind.toFixed(1)} s of the log were not in the archive.`,
  }
}

/** Sets the archive command for all WAL from now on. */
export async function setArchiveCommand({ url }: BenchCluster, command: string): Promise<void> {
  await withConnection(url, async (sql) => {
    await sql.unsafe(`alter system set archive_command = '${command}'`)
    await sql`select pg_reload_conf()`
    await sql`select pg_switch_wal()`
  })
  await sleep(200)
}

/** Adds to the measurement how old the WAL is that the archive does not have. */
async function watchingArchive({ url }: BenchDatabase, measuring: Promise<Measurement>): Promise<Measurement> {
  const behindEachSecond: number[] = []
  const positions = watchPositions(url)
  let isOver = false
  const sampling = (async () => {
    const first = await lastArchived(url)
    while (!isOver) {
      const last = await lastArchived(url)
      // Older segments belong to the time before this measurement.
      if (last > first) behindEachSecond.push((Date.now() - positions.writtenAt(last)) / 1_000)
      await sleep(SAMPLE_MS)
    }
  })()
  const result = await measuring.finally(() => {
    isOver = true
  })
  await sampling
  await positions.stop()
  return { ...result, behindEachSecond }
}

/** Makes full backups, one after the other, until the measurement is over. */
async function backingUp({ run }: Archive, measuring: Promise<Measurement>): Promise<Measurement> {
  let isOver = false
  const backups = (async () => {
    while (!isOver) await run('backup', '--type=full')
  })()
  // A backup that fails fails the measurement, at its end.
  backups.catch(() => {})
  const result = await measuring.finally(() => {
    isOver = true
  })
  await backups
  return result
}
