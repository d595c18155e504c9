import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Cluster, startCluster } from '../../local/postgres/cluster.ts'
import { withConnection } from '../../local/postgres/sql.ts'
import type { PgBackRest } from '../repository/pgbackrest.ts'
import { type Archive, archiveCommand, createArchive, lastArchived, watchPositions } from './archive.ts'
import { type Acknowledged, startLoad } from './load.ts'
import { newKey, startShop, type Write } from './shop.ts'

/** What a drill needs: a function that receives its progress, and a signal that ends it. */
export interface Drill {
  progress: (line: string) => void
  signal: AbortSignal
}

/** A lost database, and what is known about it. */
export interface Disaster extends Archive {
  /** The moment to restore, in PostgreSQL's notation. */
  target: string
  /** The segment with that moment. */
  targetSegment: string
  /** All writes that were acknowledged before that moment. */
  acknowledged: Acknowledged[]
  /** A write that was acknowledged after that moment. */
  marker: Write
  adminKey: string
  /** The last segment that the server knew to be archived. */
  lastArchived: string
  /** The migrations that the database had, in the order of their names. */
  migrations: string[]
  lostAt: number
  /** How long before the loss the newest WAL in the archive was written. */
  rpoSeconds: number
}

const ACKNOWLEDGED_BEFORE_BACKUP = 50
const ACKNOWLEDGED_BEFORE_TARGET = 300
const ACKNOWLEDGED_AFTER_TARGET = 50
/** A tenth of the value in production, so that a drill does not have to wait for it. */
const ARCHIVE_TIMEOUT_S = 3
const ARCHIVED_MAX_MS = 60_000

/**
 * Runs a shop under load on its own database in `folder`, backs the database up during the load, records a moment, and destroys the
 * database once the archive contains that moment.
 */
export async function causeDisaster(folder: string, program: string, drill: Drill): Promise<Disaster> {
  const { progress, signal } = drill
  const dataDir = join(folder, 'postgres')
  await mkdir(dataDir)
  progress('starting PostgreSQL and a shop on it')
  const settings = {
    archive_mode: 'on',
    archive_command: archiveCommand(folder, program),
    archive_timeout: `${ARCHIVE_TIMEOUT_S}s`,
  }
  const cluster = await startCluster({ dataDir, replica: false, settings, signal })
  try {
    const archive = await createArchive({ folder, cluster: 'postgres', url: cluster.primaryUrl, program }, signal)
    return { ...archive, ...(await underLoad(folder, cluster, archive.run, drill)) }
  } finally {
    await cluster.stop()
  }
}

async function underLoad(folder: string, cluster: Cluster, run: PgBackRest, { progress, signal }: Drill) {
  const adminKey = newKey()
  const shop = await startShop(cluster.primaryUrl, join(folder, 'before'), adminKey, signal)
  const positions = watchPositions(cluster.primaryUrl)
  try {
    const load = await startLoad(shop, signal)
    await load.reached(ACKNOWLEDGED_BEFORE_BACKUP)
    progress('backing up, in full and then what has changed since, while it sells')
    await run('backup', '--type=full')
    await run('backup', '--type=diff')
    await load.reached(load.acknowledged.length + ACKNOWLEDGED_BEFORE_TARGET)
    const acknowledged = [...load.acknowledged]
    const { target, targetSegment, migrations } = await withConnection(cluster.primaryUrl, async (sql) => {
      const [row] = await sql<[{ target: string; targetSegment: string }]>`
        select clock_timestamp()::text as target, pg_walfile_name(pg_current_wal_insert_lsn()) as "targetSegment"`
      const rows = await sql<Array<{ name: string }>>`select name from schema_migrations order by name`
      return { ...row, migrations: rows.map(({ name }) => name) }
    })
    const product = JSON.parse((await shop.read('/v1/products?limit=1')).text).items[0].id
    const body = { quantity: 1, reason: 'received', reference: 'after the moment' }
    const marker = { path: `/v1/products/${product}/stock/adjustments`, body, key: randomUUID() }
    const { status } = await shop.write(marker)
    if (status !== 201) throw new Error(`The write after the moment was answered ${status}.`)
    await load.reached(load.acknowledged.length + ACKNOWLEDGED_AFTER_TARGET)
    const archived = await archivedUpTo(cluster.primaryUrl, targetSegment, signal)
    progress(`destroying the database, ${load.acknowledged.length} writes after its beginning`)
    const lostAt = Date.now()
    process.kill(cluster.pids().primary ?? 0, 'SIGKILL')
    await cluster.stop()
    await rm(join(folder, 'postgres/primary'), { recursive: true })
    await load.stop()
    const rpoSeconds = (lostAt - positions.writtenAt(archived)) / 1000
    return {
      adminKey,
      target,
      targetSegment,
      acknowledged,
      marker,
      lastArchived: archived,
      migrations,
      lostAt,
      rpoSeconds,
    }
  } finally {
    await positions.stop()
    await shop.stop()
  }
}

/** Waits until a segment is archived, according to the archiver's own statistics. Returns the last archived segment. */
async function archivedUpTo(url: string, segment: string, signal: AbortSignal): Promise<string> {
  const until = performance.now() + ARCHIVED_MAX_MS
  for (;;) {
    const last = await lastArchived(url)
    if (last >= segment) return last
    if (performance.now() > until) throw new Error(`${segment} was not archived within a minute: ${last} was the last.`)
    await delay(200, undefined, { signal })
  }
}
