import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrationFiles } from '#database'
import { say } from '../../local/commands/operator-command.ts'
import { findPrograms, type PostgresPrograms } from '../../local/postgres/programs.ts'
import { DATABASE } from '../../local/postgres/replication.ts'
import { withConnection } from '../../local/postgres/sql.ts'
import { duration, size } from '../format.ts'
import { onPrivateServer } from '../restore/private-server.ts'
import { checkRestored } from '../restore/restored.ts'
import { compareMigrations, holdReservation, migrationsOf, newestWrite } from '../restore/usable.ts'
import { checkpointIfPromoted, lastArchivedIfKnown, onPrimaryIfKnown } from '../service/primary.ts'
import { configurationFile, scheduleSettings } from '../settings.ts'
import { checkContinuity, inspectRepository } from './inspect.ts'
import { type PgBackRest, type PgBackRestOptions, pgBackRest } from './pgbackrest.ts'
import {
  type Backup,
  type BackupType,
  eachRepository,
  ensureStanza,
  findRepositories,
  type Repository,
  readRepository,
} from './repository.ts'

/** Does `work` with a pgBackRest that has this process's settings. */
export async function withPgBackRest<Result>(
  work: (run: PgBackRest) => Promise<Result>,
  told: Pick<PgBackRestOptions, 'onLine' | 'onWarning'> = {},
): Promise<Result> {
  const { file, remove } = await configurationFile()
  try {
    return await work(pgBackRest({ configFile: file, ...told }))
  } finally {
    await remove()
  }
}

/** Does `work` with each repository, or only with the one of that number. Throws an error with a line for each problem. */
function withRepositories(number: number | undefined, work: (repository: Repository) => Promise<void>): Promise<void> {
  return withPgBackRest(async (run) => eachRepository(await findRepositories(run, number), work))
}

/** Makes a backup now in each repository. The first backup also creates the repository. */
export function backUpNow(type: BackupType, number: number | undefined): Promise<void> {
  return withPgBackRest(
    async (run) => {
      // Only the repositories without a stanza fail below.
      await ensureStanza(run).catch(({ message }: Error) => say(message))
      await eachRepository(await findRepositories(run, number), async (repository) => {
        await backUp(repository, type, say)
        const newest = (await readRepository(repository.run)).backups.at(-1)
        if (newest) say(repository.prefix + lineOf(newest))
      })
    },
    { onLine: say },
  )
}

/** The messages of pgBackRest if the replica does not replay the WAL in time, or goes away in between, as when it copies the primary again. */
const REPLICA_FAILS = /standby|unable to (?:complete query|connect to)/

/**
 * Makes a backup in one repository. A repository without a backup gets a full one, whatever the type. The backup is read from the replica, or
 * from the primary if there is no replica or the replica fails. `tell` reports that.
 */
export async function backUp(
  { run, prefix }: Repository,
  type: BackupType,
  tell: (line: string) => void,
): Promise<void> {
  await checkpointIfPromoted().catch(({ message }: Error) => tell(prefix + message))
  try {
    await run('backup', `--type=${type}`)
  } catch (error) {
    const { message } = error as Error
    if (!REPLICA_FAILS.test(message)) throw error
    tell(`${prefix}the replica can't be backed up from, so the primary is (${message})`)
    await run('backup', `--type=${type}`, '--backup-standby=n')
  }
}

export function listBackups(number: number | undefined): Promise<void> {
  return withRepositories(number, async ({ run, prefix }) => {
    const state = await readRepository(run)
    for (const backup of state.backups) say(prefix + lineOf(backup))
    const { archive, findings } = await checkContinuity(run, state)
    const count = `The archive has ${archive.segments.length} segments of the log.`
    say(prefix + (state.backups.length === 0 ? 'none' : count))
    for (const finding of findings) say(prefix + finding)
  })
}

export function lineOf({ name, type, startedAt, endedAt, clusterBytes, storedBytes }: Backup): string {
  const took = duration(endedAt.getTime() - startedAt.getTime())
  return `${name}  ${type}, ${endedAt.toISOString()}, in ${took}: ${size(clusterBytes)}, stored as ${size(storedBytes)}`
}

/** Reads all of each repository. Throws an error with a line for each problem. */
export function verifyRepositories(number: number | undefined): Promise<void> {
  const { ageMaxSeconds } = scheduleSettings()
  return withRepositories(number, async ({ run, prefix }) => {
    const last = await lastArchivedIfKnown()
    const findings = await inspectRepository(run, { ageMaxSeconds, ...(last && { last }) })
    if (findings.length > 0) throw new Error(findings.join('\n'))
    say(`${prefix}The repository is sound: each moment since its oldest backup can be restored.`)
  })
}

/** Does a restore drill with each repository. Throws an error with a line for each problem. */
export function drillRepositories(binFolder: string, number: number | undefined): Promise<void> {
  return withRepositories(number, (repository) => drillRepository(repository, binFolder))
}

/**
 * Restores the newest state of a repository into a temporary folder, checks all of it, and removes it. The WAL comes from the same repository, since
 * pgBackRest makes the restored server request it with the options of this restore. Throws an error with all problems.
 */
export async function drillRepository({ run, prefix }: Repository, binFolder: string): Promise<void> {
  const begun = performance.now()
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'stock-drill-')))
  const { ageMaxSeconds } = scheduleSettings()
  const tell = (line: string) => say(prefix + line)
  try {
    tell('checking the repository')
    const last = await lastArchivedIfKnown()
    const findings = await inspectRepository(run, { ageMaxSeconds, ...(last && { last }) })
    tell('restoring the newest state')
    const restored = restoreAndCheck(run, { folder, binFolder, tell })
    findings.push(...(await restored.catch(({ message }: Error) => [message])))
    if (findings.length > 0) throw new Error(findings.join('\n'))
    tell('The drill has succeeded.')
  } finally {
    await rm(folder, { recursive: true, force: true })
    tell(`The drill took ${duration(performance.now() - begun)}.`)
  }
}

/** Returns a sentence for each problem of the newest state. Says what a loss at this moment would have cost. */
async function restoreAndCheck(
  run: PgBackRest,
  { folder, binFolder, tell }: { folder: string; binFolder: string; tell: (line: string) => void },
): Promise<string[]> {
  const begun = performance.now()
  await run('restore', `--pg1-path=${folder}`, '--type=default')
  const programs = await programsIn(binFolder, folder)
  return onPrivateServer({ folder, programs, progress: tell }, async (server) => {
    const url = server.url(DATABASE)
    const restoredMs = performance.now() - begun
    tell(await recoveryPoint(url))
    const findings = [...(await checkSchema(url, tell)), ...(await checkRestored(url, tell))]
    const checked = performance.now()
    try {
      await holdReservation(url)
      const heldMs = performance.now() - checked
      tell(
        `RTO ${duration(restoredMs + heldMs)}: from the restore's beginning to a reservation that is held, without the checks`,
      )
    } catch (error) {
      findings.push(`no reservation can be held: ${(error as Error).message}`)
    }
    return findings
  })
}

/** Says how much later the server's newest write is than the newest restored one. Called once the restore has used all of the archive. */
async function recoveryPoint(url: string): Promise<string> {
  const restored = await withConnection(url, newestWrite)
  const newest = await onPrimaryIfKnown(newestWrite, DATABASE)
  const known = `the newest write that is restored is of ${restored?.toISOString() ?? 'no time: there is none'}`
  if (!newest) return `RPO unknown: no server of PGHOST answers or has a write; ${known}`
  const lostMs = Math.max(0, newest.getTime() - (restored?.getTime() ?? 0))
  return `RPO ${duration(lostMs)}: the server's newest write is of ${newest.toISOString()}, ${known}`
}

/** The first drill of a new release may run before its migrations are in the archive. */
const ARCHIVED_AFTER_HOURS = 1

async function checkSchema(url: string, tell: (line: string) => void): Promise<string[]> {
  const restored = await withConnection(url, migrationsOf)
  const server = await onPrimaryIfKnown((sql) => migrationsOf(sql, ARCHIVED_AFTER_HOURS), DATABASE)
  const { findings, notes } = compareMigrations(restored, await migrationFiles(), server)
  notes.forEach(tell)
  return findings
}

export const programsIn = (binFolder: string, folder: string): Promise<PostgresPrograms> =>
  findPrograms(folder, { postgres: join(binFolder, 'postgres'), initdb: join(binFolder, 'initdb') })
