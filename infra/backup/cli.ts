import { environment } from '#config'
import { runCommand, say } from '../local/operator-command.ts'
import { runDrill } from './drill/drill.ts'
import { backUpNow, drillRepository, listBackups, verifyRepository } from './on-repository.ts'
import { type BackupType, backupTypes } from './repository.ts'
import { hasRepository } from './settings.ts'

const USAGE = `npm run backup -- now [--type full|diff|incr]   makes a backup: of everything, of what changed since the last full one, or the last one (incr)
npm run backup -- list                          the backups, and whether the archive between them is whole
npm run backup -- verify                        reads all of the repository, and fails where anything is wrong
npm run backup -- drill                         restores the newest state into a folder of its own and checks all of it

Works on the repository of pgBackRest that PGBACKREST_CONFIG, or other PGBACKREST_* variables, name. Without any, drill makes a database
and a repository of its own, loses the database while it sells, and restores it.
`

const options = { type: { type: 'string', default: 'incr' } } as const

/** Where Debian's and the image's PostgreSQL is. */
const POSTGRES_BIN = '/usr/lib/postgresql/18/bin'

runCommand(USAGE, options, ({ command, values: { type } }) => {
  switch (command) {
    case 'now': {
      if (!isBackupType(type)) throw new Error(`--type must be one of ${backupTypes.join(', ')}.`)
      return needsRepository(() => backUpNow(type))
    }
    case 'list':
      return needsRepository(listBackups)
    case 'verify':
      return needsRepository(verifyRepository)
    case 'drill':
      return hasRepository() ? () => drillRepository(environment().POSTGRES_BIN ?? POSTGRES_BIN) : () => runDrill(timed)
    default:
      throw new Error(`There is no command '${command}'; there are now, list, verify and drill.`)
  }
})

const isBackupType = (type: unknown): type is BackupType => backupTypes.some((each) => each === type)

function needsRepository(work: () => Promise<void>): () => Promise<void> {
  if (hasRepository()) return work
  throw new Error(
    'No repository is named: set PGBACKREST_CONFIG, or PGBACKREST_REPO1_PATH and PGBACKREST_REPO1_CIPHER_PASS.',
  )
}

function timed(line: string): void {
  say(`[${(performance.now() / 1_000).toFixed(1).padStart(5)}s] ${line}`)
}
