import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { say } from '../local/commands/operator-command.ts'
import { findPrograms, type PostgresPrograms } from '../local/postgres/programs.ts'
import { DATABASE } from '../local/postgres/replication.ts'
import { duration, size } from './format.ts'
import { markRestored, sayMark } from './mark.ts'
import { type PgBackRest, pgBackRest } from './pgbackrest.ts'
import { onPrivateServer } from './private-server.ts'
import {
  type Backup,
  type BackupType,
  backUpInto,
  checkContinuity,
  ensureStanza,
  inspectRepository,
  readRepository,
} from './repository.ts'
import { checkRestored } from './restored.ts'
import { configurationFile, scheduleSettings } from './settings.ts'
import type { RestoreTarget } from './target.ts'

/** Does `work` with pgBackRest as this process's settings have it. */
export async function withPgBackRest<Result>(
  work: (run: PgBackRest) => Promise<Result>,
  onLine?: (line: string) => void,
): Promise<Result> {
  const { file, remove } = await configurationFile()
  try {
    return await work(pgBackRest({ configFile: file, ...(onLine && { onLine }) }))
  } finally {
    await remove()
  }
}

/** Makes a backup now; the first one also makes the repository. */
export function backUpNow(type: BackupType): Promise<void> {
  return withPgBackRest(async (run) => {
    await ensureStanza(run)
    await backUpInto(run, type)
    const newest = (await readRepository(run)).backups.at(-1)
    if (newest) say(lineOf(newest))
  }, say)
}

export function listBackups(): Promise<void> {
  return withPgBackRest(async (run) => {
    const state = await readRepository(run)
    for (const backup of state.backups) say(lineOf(backup))
    const { archive, findings } = await checkContinuity(run, state)
    say(state.backups.length === 0 ? 'none' : `The archive has ${archive.segments.length} segments of the log.`)
    for (const finding of findings) say(finding)
  })
}

function lineOf({ name, type, startedAt, endedAt, clusterBytes, storedBytes }: Backup): string {
  const took = duration(endedAt.getTime() - startedAt.getTime())
  return `${name}  ${type}, ${endedAt.toISOString()}, in ${took}: ${size(clusterBytes)}, stored as ${size(storedBytes)}`
}

/** Reads all of the repository. Throws with a line for each thing that is wrong. */
export function verifyRepository(): Promise<void> {
  const { ageMaxSeconds } = scheduleSettings()
  return withPgBackRest(async (run) => {
    const findings = await inspectRepository(run, { ageMaxSeconds })
    if (findings.length > 0) throw new Error(findings.join('\n'))
    say('The repository is sound: each moment since its oldest backup can be restored.')
  })
}

/** The arguments of pgBackRest's restore. */
function argumentsFor(target: RestoreTarget): string[] {
  switch (target.kind) {
    case 'latest':
      return ['--type=default']
    case 'time':
      return ['--type=time', `--target=${timeOf(target.at)}`, '--target-action=promote']
    case 'name':
      return ['--type=immediate', `--set=${target.name}`, '--target-action=promote']
  }
}

/** As pgBackRest wants it. */
const timeOf = (at: Date) => at.toISOString().replace('T', ' ').replace('Z', '+00')

/**
 * Restores a cluster into its folder, which pgBackRest refuses while a server runs there or, without `isDelta`, while anything is in it; then
 * recovers and marks it, and leaves it to be started. Or only says what that would do.
 */
export function restoreCluster(
  target: RestoreTarget,
  { folder, binFolder, isDryRun, isDelta }: { folder: string; binFolder: string; isDryRun: boolean; isDelta: boolean },
): Promise<void> {
  return withPgBackRest(async (run) => {
    const state = await readRepository(run)
    const backup = startOf(target, state.backups)
    const { findings } = await checkContinuity(run, state)
    say(`from ${lineOf(backup)}`)
    for (const finding of findings) say(finding)
    if (isDryRun)
      return say(
        `Would restore it to ${folder}, and the log up to ${describe(target)}; what was done since would be forgotten.`,
      )
    const delta = isDelta ? ['--delta'] : []
    await run('restore', `--pg1-path=${folder}`, ...delta, ...argumentsFor(target))
    say('recovering it')
    const server = { folder, programs: await programsIn(binFolder, folder), progress: say }
    sayMark(await onPrivateServer(server, (running) => markRestored(running.url(DATABASE), backup.endedAt)))
  }, say)
}

/** The backup that a restore begins with. Throws where there is none. */
function startOf(target: RestoreTarget, backups: Backup[]): Backup {
  const isBefore = ({ name, endedAt }: Backup) =>
    target.kind === 'latest' || (target.kind === 'time' ? endedAt <= target.at : name === target.name)
  const backup = backups.findLast(isBefore)
  if (!backup) throw new Error(`There is no backup to restore ${describe(target)} from (list).`)
  return backup
}

function describe(target: RestoreTarget): string {
  if (target.kind === 'latest') return 'the end of the archive'
  return target.kind === 'time' ? target.at.toISOString() : `the end of ${target.name}`
}

/** Restores the newest state into a folder of its own, checks all of it, and removes it. Throws with what is wrong. */
export async function drillRepository(binFolder: string): Promise<void> {
  const begun = performance.now()
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'stock-drill-')))
  const { ageMaxSeconds } = scheduleSettings()
  try {
    await withPgBackRest(async (run) => {
      say('checking the repository')
      const findings = await inspectRepository(run, { ageMaxSeconds })
      say('restoring the newest state')
      await run('restore', `--pg1-path=${folder}`, ...argumentsFor({ kind: 'latest' }))
      const programs = await programsIn(binFolder, folder)
      findings.push(
        ...(await onPrivateServer({ folder, programs, progress: say }, (server) => {
          say(`it takes writes, ${duration(performance.now() - begun)} after the beginning`)
          return checkRestored(server.url(DATABASE), say)
        })),
      )
      if (findings.length > 0) throw new Error(findings.join('\n'))
      say('The drill has succeeded.')
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const programsIn = (binFolder: string, folder: string): Promise<PostgresPrograms> =>
  findPrograms(folder, { postgres: join(binFolder, 'postgres'), initdb: join(binFolder, 'initdb') })
