import { say } from '../../local/commands/operator-command.ts'
import type { PostgresServer } from '../../local/postgres/postgres-server.ts'
import { DATABASE } from '../../local/postgres/replication.ts'
import { checkContinuity } from '../repository/inspect.ts'
import { lineOf, programsIn, withPgBackRest } from '../repository/on-repository.ts'
import { type Backup, findRepositories, type Repository, readRepository } from '../repository/repository.ts'
import { markRestored, sayMark } from './mark.ts'
import { onPrivateServer } from './private-server.ts'
import type { RestoreTarget } from './target.ts'

/** Returns the arguments for pgBackRest's restore. */
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

/** Formats a time as pgBackRest expects it. */
const timeOf = (at: Date) => at.toISOString().replace('T', ' ').replace('Z', '+00')

export interface RestoreOptions {
  folder: string
  binFolder: string
  isDryRun: boolean
  isDelta: boolean
  /** The number of the repository. Default: the first one that can be read and has a backup to begin with. */
  number: number | undefined
}

/**
 * Restores a cluster into its folder, then recovers and marks it, and leaves the start to the operator. With `isDryRun`, only says what it would
 * do. pgBackRest refuses to restore while a server runs in the folder or, without `isDelta`, while the folder is not empty.
 */
export function restoreCluster(target: RestoreTarget, options: RestoreOptions): Promise<void> {
  const { folder, binFolder, isDryRun, isDelta, number } = options
  // Recovery would notice this too, but only after the folder has been filled.
  if (target.kind === 'time' && target.at.getTime() > Date.now())
    throw new Error(`${describe(target)} is to come: name a moment that is over, or latest.`)
  return withPgBackRest(
    async (run) => {
      const { repository, backup, findings } = await sourceOf(target, await findRepositories(run, number))
      say(`from ${repository.prefix}${lineOf(backup)}`)
      for (const finding of findings) say(repository.prefix + finding)
      if (isDryRun)
        return say(
          `Would restore it to ${folder}, and the log up to ${describe(target)}; what was done since would be forgotten.`,
        )
      const delta = isDelta ? ['--delta'] : []
      await repository.run('restore', `--pg1-path=${folder}`, ...delta, ...argumentsFor(target))
      say('recovering it')
      const server = { folder, programs: await programsIn(binFolder, folder), progress: say }
      const mark = (running: PostgresServer) => markRestored(running.url(DATABASE), backup.endedAt)
      sayMark(await onPrivateServer(server, mark).catch((error) => throwPlainly(error, target)))
    },
    { onLine: say },
  )
}

/** The end of a server's log if the archive does not reach the moment. `commit` is missing if there was no commit since the backup. */
const NOT_REACHED =
  /(?:last completed transaction was at log time (?<commit>[^\n]+)\n[^\n]*)?FATAL: +recovery ended before configured recovery target was reached/

/** Throws the error of a recovery. If the archive ends too early, throws our own sentence instead. */
function throwPlainly(error: Error, target: RestoreTarget): never {
  const found = NOT_REACHED.exec(error.message)
  if (!found) throw error
  const commit = found.groups?.commit
  const last = commit ? `its last commit is of ${commit}` : 'it has no commit since the backup'
  throw new Error(
    `The archive ends before ${describe(target)}: ${last}. Restore that by --to latest --delta, or name an earlier moment. What is there now is not to be used.`,
    { cause: error },
  )
}

/** Returns the first repository that has a backup to begin with. If none has, throws an error with the problem of each. */
async function sourceOf(target: RestoreTarget, repositories: Repository[]) {
  const failures: string[] = []
  for (const repository of repositories) {
    try {
      const state = await readRepository(repository.run)
      const backup = startOf(target, state.backups)
      return { repository, backup, findings: (await checkContinuity(repository.run, state)).findings }
    } catch (error) {
      failures.push(repository.prefix + (error as Error).message)
    }
  }
  throw new Error(failures.join('\n'))
}

/** The end of a backup is known to the second. A moment within that second may be before the end, so pgBackRest does not restore it from that backup. */
const END_PRECISION_MS = 1_000

/** Returns the backup that a restore begins with. Throws if there is none. */
function startOf(target: RestoreTarget, backups: Backup[]): Backup {
  const isBefore = ({ name, endedAt }: Backup) =>
    target.kind === 'latest' ||
    (target.kind === 'time' ? endedAt.getTime() + END_PRECISION_MS <= target.at.getTime() : name === target.name)
  const backup = backups.findLast(isBefore)
  if (!backup) throw new Error(`There is no backup to restore ${describe(target)} from (list).`)
  return backup
}

function describe(target: RestoreTarget): string {
  if (target.kind === 'latest') return 'the end of the archive'
  return target.kind === 'time' ? target.at.toISOString() : `the end of ${target.name}`
}
