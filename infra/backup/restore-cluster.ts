import { say } from '../local/commands/operator-command.ts'
import { DATABASE } from '../local/postgres/replication.ts'
import { checkContinuity } from './inspect.ts'
import { markRestored, sayMark } from './mark.ts'
import { lineOf, programsIn, withPgBackRest } from './on-repository.ts'
import { onPrivateServer } from './private-server.ts'
import { type Backup, findRepositories, type Repository, readRepository } from './repository.ts'
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
      sayMark(await onPrivateServer(server, (running) => markRestored(running.url(DATABASE), backup.endedAt)))
    },
    { onLine: say },
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
