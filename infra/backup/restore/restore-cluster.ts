import { say } from '../../local/commands/operator-command.ts'
import type { PostgresServer } from '../../local/postgres/postgres-server.ts'
import { DATABASE } from '../../local/postgres/replication.ts'
import { checkContinuity } from '../repository/inspect.ts'
import { lineOf, programsIn, withPgBackRest } from '../repository/on-repository.ts'
import { type Backup, findRepositories, type Repository, readRepository } from '../repository/repository.ts'
import { markRestored, sayMark } from './mark.ts'
import { onPrivateServer } from './private-server.ts'
import type { RestoreTarget } from './target.ts'

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

export interface RestoreOptions {
  folder: string
  binFolder: string
  isDryRun: boolean
  isDelta: boolean
  /** Of the repository. Default: the first one that can be read and has a backup to begin with. */
  number: number | undefined
}

/**
 * Restores a cluster into its folder, which pgBackRest refuses while a server runs there or, without `isDelta`, while anything is in it; then
 * recovers and marks it, and leaves it to be started. Or only says what that would do.
 */
export function restoreCluster(target: RestoreTarget, options: RestoreOptions): Promise<void> {
  const { folder, binFolder, isDryRun, isDelta, number } = options
  // Recovery would find out, with the folder filled by then.
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

/** What a server's log ends with where the archive does not reach the moment; the commit is missing where there was none since the backup. */
const NOT_REACHED =
  /(?:last completed transaction was at log time (?<commit>[^\n]+)\n[^\n]*)?FATAL: +recovery ended before configured recovery target was reached/

/** The error of a recovery; in a sentence of ours where it is that the archive ends too early. */
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

/** The first of the repositories that has a backup to begin with. Throws with what is wrong with each where none has. */
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

/** When a backup ended is known to the second. A moment within that may be from before its end, so pgBackRest does not restore it from there. */
const END_PRECISION_MS = 1_000

/** The backup that a restore begins with. Throws where there is none. */
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
