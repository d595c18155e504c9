import { environment } from '#config'
import { runDocker } from '../local/commands/docker.ts'
import { onDatabase, operator, runCommand, say, timed } from '../local/commands/operator-command.ts'
import { runDrill } from './drill/drill.ts'
import { copyNow, listEmbedded, restoreEmbedded, verifyEmbedded } from './embedded/on-embedded.ts'
import { backUpNow, drillRepositories, listBackups, verifyRepositories } from './repository/on-repository.ts'
import { type BackupType, backupTypes } from './repository/repository.ts'
import { restoreCluster } from './restore/restore-cluster.ts'
import { describePause, findPause, resume } from './restore/resume.ts'
import { parseTarget } from './restore/target.ts'
import { hasRepository } from './settings.ts'

const USAGE = `npm run backup -- now [--type full|diff|incr]   makes a backup; of what changed since the last full one (diff), or the last one (incr)
npm run backup -- list                          the backups, and whether the archive between them is whole
npm run backup -- verify                        reads all of them, and fails where anything is wrong
npm run backup -- restore --to latest|TIME|NAME [--dry-run] [--delta]
                                                puts the data as it was then in the place of that of a server that does not run
npm run backup -- resume [--dry-run]            says what waits in a restored database, and lets it go on
npm run backup -- drill                         restores into a folder of its own, and checks all of it

Works on the repositories of pgBackRest that PGBACKREST_CONFIG, or other PGBACKREST_* variables, name: on each of them, or with
--repository N on that one alone. restore takes the first that has what it needs; it puts the cluster into the folder PGDATA, and needs
--delta to replace files there. Without such variables it copies the database that npm start has in DATA_DIR, to
DATA_DIR/backups; and drill makes a database and a repository of its own, loses the database while it sells, and restores it.

With --compose the container backup of docker-compose.yml does it, which has to run; docker compose reads .env and COMPOSE_* as ever. It does
not restore, except with --dry-run: the service has to be stopped for that, as docs/runbooks/backup-and-restore.md says.
`

const options = {
  type: { type: 'string', default: 'incr' },
  to: { type: 'string' },
  'dry-run': { type: 'boolean', default: false },
  delta: { type: 'boolean', default: false },
  repository: { type: 'string' },
  compose: { type: 'boolean', default: false },
} as const

/** For a command in the container: a drill restores the whole cluster, which takes hours if there are terabytes. */
const COMMAND_MS_MAX = 24 * 3_600_000

runCommand(USAGE, options, ({ command, values }) => {
  const { type, to, delta, 'dry-run': dryRun } = values
  if (values.compose === true) return inContainer(command, dryRun === true)
  const number = repositoryOf(values.repository)
  switch (command) {
    case 'now':
      if (!isBackupType(type)) throw new Error(`--type must be one of ${backupTypes.join(', ')}.`)
      return hasRepository() ? () => backUpNow(type, number) : copyNow
    case 'list':
      return hasRepository() ? () => listBackups(number) : listEmbedded
    case 'verify':
      return hasRepository() ? () => verifyRepositories(number) : verifyEmbedded
    case 'restore': {
      const target = parseTarget(to)
      const isDryRun = dryRun === true
      if (!hasRepository()) return () => restoreEmbedded(target, { isDryRun })
      const { PGDATA: folder } = environment()
      if (!folder) throw new Error('Say where the cluster is to be: PGDATA.')
      return () => restoreCluster(target, { folder, binFolder: binFolder(), isDryRun, isDelta: delta === true, number })
    }
    case 'resume':
      return onDatabase(() => resumeRestored(dryRun === true))
    case 'drill':
      return hasRepository() ? () => drillRepositories(binFolder(), number) : () => runDrill(timed)
    default:
      throw new Error(`There is no command '${command}'; there are now, list, verify, restore, resume and drill.`)
  }
})

/** Runs this process's command in the container `backup`. */
function inContainer(command: string, isDryRun: boolean): () => Promise<void> {
  if (command === 'restore' && !isDryRun)
    throw new Error(
      'The servers run while the container backup does: docs/runbooks/backup-and-restore.md says how to restore.',
    )
  const asked = process.argv.slice(2).filter((argument) => argument !== '--compose')
  const args = ['compose', 'exec', '-T', 'backup', 'backup', ...asked]
  return async () => {
    await runDocker(args, { env: environment(), timeoutMs: COMMAND_MS_MAX, isShown: true })
  }
}

/** Parses the number after --repository. Throws if it is no number, or if there are no repositories to choose from. */
function repositoryOf(given: unknown): number | undefined {
  if (given === undefined) return undefined
  if (!hasRepository())
    throw new Error('--repository is for the repositories of pgBackRest: name them by PGBACKREST_* variables.')
  if (typeof given === 'string' && /^[1-9]\d{0,2}$/.test(given)) return Number(given)
  throw new Error('--repository must be the number of a repository, such as 2 for that of PGBACKREST_REPO2_PATH.')
}

function isBackupType(type: unknown): type is BackupType {
  return backupTypes.some((each) => each === type)
}

async function resumeRestored(isDryRun: boolean): Promise<void> {
  const pause = await findPause()
  if (!pause) return say('Nothing waits: this database was not restored, or goes on already.')
  for (const line of describePause(pause)) say(line)
  if (isDryRun) return
  const announced = await resume(operator(), (done) => say(`published ${done} of ${pause.products} products`))
  say(`${announced} products are published, and all goes on.`)
}

/** The folder of PostgreSQL's programs: POSTGRES_BIN, or else the folder that Debian and the image use. */
function binFolder(): string {
  return environment().POSTGRES_BIN ?? '/usr/lib/postgresql/18/bin'
}
