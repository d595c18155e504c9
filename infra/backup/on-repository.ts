import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { say } from '../local/commands/operator-command.ts'
import { findPrograms, type PostgresPrograms } from '../local/postgres/programs.ts'
import { DATABASE } from '../local/postgres/replication.ts'
import { duration, size } from './format.ts'
import { checkContinuity, inspectRepository } from './inspect.ts'
import { type PgBackRest, type PgBackRestOptions, pgBackRest } from './pgbackrest.ts'
import { checkpointIfPromoted, lastArchivedIfKnown } from './primary.ts'
import { onPrivateServer } from './private-server.ts'
import {
  type Backup,
  type BackupType,
  eachRepository,
  ensureStanza,
  findRepositories,
  type Repository,
  readRepository,
} from './repository.ts'
import { checkRestored } from './restored.ts'
import { configurationFile, scheduleSettings } from './settings.ts'

/** Does `work` with pgBackRest as this process's settings have it. */
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

/** Does `work` with each repository, or with the one of that number alone. Throws with a line for each thing that is wrong. */
function withRepositories(number: number | undefined, work: (repository: Repository) => Promise<void>): Promise<void> {
  return withPgBackRest(async (run) => eachRepository(await findRepositories(run, number), work))
}

/** Makes a backup now, in each repository; the first one also makes the repository. */
export function backUpNow(type: BackupType, number: number | undefined): Promise<void> {
  return withPgBackRest(
    async (run) => {
      // The repositories that it could not be made in fail below, and no other.
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

/**
 * Makes a backup in one repository. One that has none yet gets a full one, whatever the type. It is read from the replica where there is one, and
 * from the primary where there is none, or that does not replay the log in time: `tell` is told of it.
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
    if (!message.includes('standby')) throw error
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

/** Reads all of each repository. Throws with a line for each thing that is wrong. */
export function verifyRepositories(number: number | undefined): Promise<void> {
  const { ageMaxSeconds } = scheduleSettings()
  return withRepositories(number, async ({ run, prefix }) => {
    const last = await lastArchivedIfKnown()
    const findings = await inspectRepository(run, { ageMaxSeconds, ...(last && { last }) })
    if (findings.length > 0) throw new Error(findings.join('\n'))
    say(`${prefix}The repository is sound: each moment since its oldest backup can be restored.`)
  })
}

/** Drills each repository. Throws with a line for each thing that is wrong. */
export function drillRepositories(binFolder: string, number: number | undefined): Promise<void> {
  return withRepositories(number, (repository) => drillRepository(repository, binFolder))
}

/**
 * Restores the newest state of a repository into a folder of its own, checks all of it, and removes it. The log comes from that repository, too, since
 * pgBackRest has the restored server ask for it as it was asked itself. Throws with what is wrong.
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
    const checkNewest = async () => {
      await run('restore', `--pg1-path=${folder}`, '--type=default')
      const programs = await programsIn(binFolder, folder)
      return onPrivateServer({ folder, programs, progress: tell }, (server) => {
        tell(`it takes writes, ${duration(performance.now() - begun)} after the beginning`)
        return checkRestored(server.url(DATABASE), tell)
      })
    }
    findings.push(...(await checkNewest().catch(({ message }: Error) => [message])))
    if (findings.length > 0) throw new Error(findings.join('\n'))
    tell('The drill has succeeded.')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export const programsIn = (binFolder: string, folder: string): Promise<PostgresPrograms> =>
  findPrograms(folder, { postgres: join(binFolder, 'postgres'), initdb: join(binFolder, 'initdb') })
