import { createServer } from 'node:http'
import { onShutdown, startLoop } from '#async'
import { environment } from '#config'
import { onStopSignal } from '#function/stop-signals'
import { answerScrape, logger, startLogExport } from '#telemetry'
import { withConnection } from '../local/postgres/sql.ts'
import { runs, seen } from './metrics.ts'
import { drillRepository, withPgBackRest } from './on-repository.ts'
import { type BackupType, backUpInto, checkContinuity, ensureStanza, readRepository } from './repository.ts'
import { dueBackup } from './schedule.ts'
import { scheduleSettings } from './settings.ts'

const ROUND_MS = 60_000
/** libpq's own variables say where the server is: PGHOST is the folder of its socket. */
const SERVER_URL = 'postgres:///postgres'

/** Makes the backups that are due, tries a restore now and then, and tells of both at /metrics, until the process is told to stop. */
export function startBackups(): void {
  startLogExport({ name: 'backup' })
  const { drill: drillEvery } = scheduleSettings()
  let drilledAt = 0
  const round = async () => {
    await counted('look', look)
    const type = due()
    const isMade = type === undefined || (await counted(type, () => backUp(type)))
    if (type !== undefined) await counted('look', look)
    if (isMade && seen.backups.length > 0 && Date.now() - drilledAt > drillEvery * 1_000) {
      drilledAt = Date.now()
      await counted('drill', () => drillRepository(environment().POSTGRES_BIN ?? '/usr/lib/postgresql/18/bin'))
    }
    return ROUND_MS
  }
  onShutdown(startLoop(round).stop)
  const server = createServer((req, res) => {
    if (req.url === '/metrics') void answerScrape(req, res)
    else res.writeHead(req.url === '/healthz' ? 200 : 404).end()
  })
  server.listen(Number(environment().PORT ?? 3000), environment().HOST)
  onShutdown(async () => void server.close())
  // A backup that is cut off is begun anew next time.
  onStopSignal(
    () => process.exit(0),
    () => {},
  )
}

/** Does `work`, and counts and logs how it ended. False if it failed. */
async function counted(type: string, work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    runs.inc({ type, result: 'succeeded' })
    return true
  } catch (error) {
    runs.inc({ type, result: 'failed' })
    logger().error({ type, reason: (error as Error).message }, 'a backup, a drill or a look at the repository failed')
    return false
  }
}

async function look(): Promise<void> {
  const last = await withConnection(SERVER_URL, async (sql) => {
    const [row] = await sql<[{ waiting: number; lag: number; last: string | null }]>`
      select count(*)::int as waiting, coalesce(extract(epoch from now() - min(modification)), 0)::float8 as lag,
             (select last_archived_wal from pg_stat_archiver) as last
      from pg_ls_archive_statusdir() where name like '%.ready'`
    seen.waiting = row.waiting
    seen.lagSeconds = row.lag
    return row.last?.slice(0, 24)
  })
  await withPgBackRest(async (run) => {
    await ensureStanza(run)
    const state = await readRepository(run)
    const { gaps } = await checkContinuity(run, state, isSegment(last) ? last : undefined)
    seen.backups = state.backups
    seen.gapSegments = gaps.reduce((sum, { segments }) => sum + segments, 0)
    newestGap = gaps.at(-1)?.to ?? ''
  })
}

/** The last archived file may be the history of a timeline. */
const isSegment = (name: string | undefined): name is string => /^[0-9A-F]{24}$/.test(name ?? '')

let newestGap = ''

function due() {
  const intervals = scheduleSettings()
  const hasGap = newestGap > (seen.backups.at(-1)?.archiveStop ?? '')
  return dueBackup(seen.backups, intervals, { now: new Date(), chance: Math.random(), hasGap })
}

function backUp(type: BackupType): Promise<void> {
  return withPgBackRest(async (run) => {
    await backUpInto(run, type)
    logger().info({ type }, 'backed up')
  })
}
