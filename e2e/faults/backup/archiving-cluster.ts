import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PgBackRest, pgBackRest, STANZA } from '../../../infra/backup/pgbackrest.ts'
import { commonConfiguration } from '../../../infra/backup/settings.ts'
import { ensurePgBackRest } from '../../../infra/local/engines/pgbackrest.ts'
import { type Cluster, startCluster } from '../../../infra/local/postgres/cluster.ts'
import { findPrograms, type PostgresPrograms } from '../../../infra/local/postgres/programs.ts'

/** A repository of backups: a folder of the cluster's, and the key that it is encrypted with. */
export interface Repository {
  folder: string
  key: string
}

/** A PostgreSQL that archives its log by pgBackRest. */
export interface ArchivingCluster {
  folder: string
  cluster: Cluster
  programs: PostgresPrograms
  run: PgBackRest
  /** Of pgBackRest, which reads it each time it is run. */
  configFile: string
  /** Whom server and pgBackRest run as, where this process is root. */
  account: { uid?: number; gid?: number }
  /** Fills these repositories from now on. */
  archiveTo: (...repositories: Repository[]) => Promise<void>
  /** A folder that the account may fill. */
  makeFolder: (name: string) => Promise<string>
  stop: () => Promise<void>
}

/** pgBackRest, which is fetched first where it is missing. Undefined where it can't be had, which a line says; in CI that is an error. */
export function findPgBackRest(say: (line: string) => void): Promise<string | undefined> {
  return ensurePgBackRest(say).catch((error: Error) => {
    if (process.env.CI) throw error
    say(`skipped, because ${error.message}`)
    return undefined
  })
}

/** Starts one in a folder of its own, with `first` for its repository. */
export async function startArchivingCluster(program: string, first: Repository): Promise<ArchivingCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-archiving-'))
  // The server's account, which is not root, passes through it.
  await chmod(folder, 0o711)
  const configFile = join(folder, 'pgbackrest.conf')
  const dataDir = join(folder, 'postgres')
  await mkdir(dataDir)
  const settings = {
    archive_mode: 'on',
    archive_command: `${program} --config=${configFile} --stanza=${STANZA} archive-push %p`,
  }
  const cluster = await startCluster({ dataDir, replica: false, fsync: false, settings })
  const programs = await findPrograms(dataDir)
  const { uid, gid } = await stat(dataDir)
  const account = process.getuid?.() === 0 ? { uid, gid } : {}
  const environment = { PGHOST: '127.0.0.1', PGPASSFILE: join(dataDir, 'primary/pgpass') }
  const run = pgBackRest({ program, configFile, environment, ...(account.uid && { account: { uid, gid } }) })

  const makeFolder = async (name: string) => {
    const path = join(folder, name)
    await mkdir(path)
    await programs.own(path)
    return path
  }
  const archiveTo = async (...repositories: Repository[]) => {
    await writeFile(configFile, `${await commonConfiguration()}\n${ownOptions(repositories)}`, { mode: 0o600 })
    await programs.own(configFile)
  }
  const ownOptions = (repositories: Repository[]) => `[global]
${repositories.map((repository, index) => optionsOf(repository, `repo${index + 1}`)).join('')}spool-path=${folder}/spool
lock-path=${folder}/lock

[${STANZA}]
pg1-path=${dataDir}/primary
pg1-port=${new URL(cluster.primaryUrl).port}
pg1-user=postgres
`
  const optionsOf = (repository: Repository, repo: string) => {
    // What the common settings say of the first one may not be said twice.
    const common = repo === 'repo1' ? '' : `${repo}-cipher-type=aes-256-cbc\n${repo}-retention-full=2\n`
    return `${repo}-path=${folder}/${repository.folder}\n${repo}-cipher-pass=${repository.key}\n${common}`
  }

  for (const name of ['spool', 'lock', first.folder]) await makeFolder(name)
  await archiveTo(first)
  const stop = async () => {
    await cluster.stop()
    await rm(folder, { recursive: true, force: true })
  }
  return { folder, cluster, programs, run, configFile, account, archiveTo, makeFolder, stop }
}
