import { createServer } from 'node:http'
import { onShutdown, startLoop } from '#async'
import { environment } from '#config'
import { onStopSignal } from '#function/stop-signals'
import { answerScrape, logger, startLogExport } from '#telemetry'
import { checkContinuity } from '../repository/inspect.ts'
import { backUp, drillRepository, withPgBackRest } from '../repository/on-repository.ts'
import type { PgBackRest } from '../repository/pgbackrest.ts'
import {
  type BackupType,
  ensureStanza,
  findRepositories,
  type Repository,
  readRepository,
} from '../repository/repository.ts'
import { scheduleSettings } from '../settings.ts'
import { expectRepositories, noteDrill, runs, seen } from './metrics.ts'
import { lastArchivedBy, onPrimary } from './primary.ts'
import { dueBackup } from './schedule.ts'

const ROUND_MS = 60_000

/**
 * Makes the backups that are due in each repository, regularly test-restores from each repository, and reports both at /metrics, until the
 * process receives a stop signal.
 */
export function startBackups(): void {
  startLogExport({ name: 'backup' })
  const round = async () => {
    await withPgBackRest(attendToAll, { onWarning: warn }).catch(({ message }: Error) =>
      logger().error({ reason: message }, 'no settings'),
    )
    return ROUND_MS
  }
  onShutdown(startLoop(round).stop)
  const server = createServer((req, res) => {
    if (req.url === '/metrics') void answerScrape(req, res)
    else res.writeHead(req.url === '/healthz' ? 200 : 404).end()
  })
  server.listen(Number(environment().PORT ?? 3000), environment().HOST)
  onShutdown(async () => void server.close())
  // An interrupted backup starts from the beginning next time.
  onStopSignal(
    () => process.exit(0),
    () => {},
  )
}

/** Logs a problem that does not stop the work. */
const warn = (line: string) => logger().warn({ reason: line }, 'pgBackRest warns')

async function attendToAll(run: PgBackRest): Promise<void> {
  let repositories: Repository[] = []
  await counted({ type: 'look' }, async () => {
    repositories = await findRepositories(run)
    expectRepositories(repositories.map(({ number }) => number))
    await lookAtServer(run)
  })
  // Also if the server does not answer: the content of the repositories can still be tested.
  for (const repository of repositories) await attendTo(repository)
}

const drilledAt = new Map<number, number>()

/** A failure in one repository is counted there, and does not affect the next one. */
async function attendTo(repository: Repository): Promise<void> {
  const { number } = repository
  const of = (type: string) => ({ type, repository: String(number) })
  await counted(of('look'), () => lookAt(repository))
  const type = dueIn(number)
  if (type !== undefined) {
    const isMade = await counted(of(type), () => backUp(repository, type, warn))
    await counted(of('look'), () => lookAt(repository))
    if (!isMade) return
  }
  const hasBackup = (seen.repositories.get(number)?.backups.length ?? 0) > 0
  const isDrillDue = Date.now() - (drilledAt.get(number) ?? 0) > scheduleSettings().drill * 1_000
  if (!hasBackup || !isDrillDue) return
  drilledAt.set(number, Date.now())
  const binFolder = environment().POSTGRES_BIN ?? '/usr/lib/postgresql/18/bin'
  noteDrill(number, await counted(of('drill'), () => drillRepository(repository, binFolder)))
}

/** Does `work`, and counts and logs its result. Returns false if it failed. */
async function counted(labels: { type: string; repository?: string }, work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    runs.inc({ ...labels, result: 'succeeded' })
    return true
  } catch (error) {
    runs.inc({ ...labels, result: 'failed' })
    logger().error({ ...labels, reason: (error as Error).message }, 'a backup, a drill or a look failed')
    return false
  }
}

/** The last segment that the server knows to be in every repository. */
let lastArchived: string | undefined

async function lookAtServer(run: PgBackRest): Promise<void> {
  lastArchived = await onPrimary(async (sql) => {
    const [row] = await sql<[{ waiting: number; lag: number }]>`
      select count(*)::int as waiting, coalesce(extract(epoch from now() - min(modification)), 0)::float8 as lag
      from pg_ls_archive_statusdir() where name like '%.ready'`
    seen.waiting = row.waiting
    seen.lagSeconds = row.lag
    return lastArchivedBy(sql)
  })
  await ensureStanza(run)
}

async function lookAt({ number, run }: Repository): Promise<void> {
  const state = await readRepository(run)
  const { gaps } = await checkContinuity(run, state, lastArchived)
  const gapSegments = gaps.reduce((sum, { segments }) => sum + segments, 0)
  seen.repositories.set(number, { backups: state.backups, gapSegments, newestGap: gaps.at(-1)?.to ?? '' })
}

/** Returns undefined until the repository has been read once: until then, nobody knows what is due. */
function dueIn(number: number): BackupType | undefined {
  const known = seen.repositories.get(number)
  if (!known) return undefined
  const hasGap = known.newestGap > (known.backups.at(-1)?.archiveStop ?? '')
  return dueBackup(known.backups, scheduleSettings(), { now: new Date(), chance: Math.random(), hasGap })
}
