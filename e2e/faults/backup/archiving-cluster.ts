import { execFile } from 'node:child_process'
import { chmod, cp, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { buildOfAll } from '#testing/builds'
import { type PgBackRest, pgBackRest, STANZA } from '../../../infra/backup/repository/pgbackrest.ts'
import { commonConfiguration } from '../../../infra/backup/settings.ts'
import { ensurePgBackRest } from '../../../infra/local/engines/pgbackrest.ts'
import type { S3Store } from '../../../infra/local/engines/s3-store.ts'
import { type Cluster, startCluster } from '../../../infra/local/postgres/cluster.ts'
import { findPrograms, type PostgresPrograms } from '../../../infra/local/postgres/programs.ts'

/** A backup repository: a folder beside the cluster, or a folder of that name in a store, and its encryption key. */
export interface Repository {
  folder: string
  key: string
  store?: S3Store
}

/** Longer than a test takes. */
const AWAY_MS = 3_600_000
/** How long a backup waits for the replica. Elsewhere it is a minute. */
const REPLAY_MAX_S = 5

/** A PostgreSQL that archives its WAL with pgBackRest. */
export interface ArchivingCluster {
  folder: string
  cluster: Cluster
  programs: PostgresPrograms
  run: PgBackRest
  /** The configuration of pgBackRest, which reads it at each run. */
  configFile: string
  /** The options for a process that makes backups. It runs as the account that owns the cluster's files. */
  process: { cwd: string; env: Record<string, string | undefined>; uid?: number; gid?: number }
  /** Makes the server archive to these repositories from now on. */
  archiveTo: (...repositories: Repository[]) => Promise<void>
  /** Makes a folder that the account may write to. */
  makeFolder: (name: string) => Promise<string>
  stop: () => Promise<void>
}

/** Finds pgBackRest, and fetches it if it is missing. If that fails, says so and returns undefined; in CI, that is an error. */
export const findPgBackRest = (say: (line: string) => void) => findProgram(ensurePgBackRest, say)

/** The same for any program. */
export function findProgram(
  ensure: (progress: (line: string) => void) => Promise<string>,
  say: (line: string) => void,
): Promise<string | undefined> {
  return ensure(say).catch((error: Error) => {
    if (process.env.CI) throw error
    say(`skipped, because ${error.message}`)
    return undefined
  })
}

/** Starts a cluster in its own folder, with `first` as its repository. With a replica, backups are read from the replica if it is available. */
export async function startArchivingCluster(
  program: string,
  first: Repository,
  { replica = false } = {},
): Promise<ArchivingCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-archiving-'))
  // The server's account, which is not root, must be able to pass through this folder.
  await chmod(folder, 0o711)
  const configFile = join(folder, 'pgbackrest.conf')
  const dataDir = join(folder, 'postgres')
  await mkdir(dataDir)
  const settings = {
    archive_mode: 'on',
    // Either server may archive. It runs this command in its own data folder.
    archive_command: `${program} --config=${configFile} --stanza=${STANZA} --pg1-path=$PWD archive-push %p`,
  }
  // A killed server stays down.
  const cluster = await startCluster({ dataDir, replica, fsync: false, settings, restartAfterMs: AWAY_MS })
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

[global:backup]
archive-timeout=${REPLAY_MAX_S}

[${STANZA}]
${[cluster.primaryUrl, cluster.replicaUrl].map((url, index) => serverOptions(url, index + 1)).join('')}`
  const serverOptions = (url: string | undefined, number: number) => {
    if (url === undefined) return ''
    const folderOfServer = join(dataDir, number === 1 ? 'primary' : 'replica')
    return `pg${number}-path=${folderOfServer}\npg${number}-port=${new URL(url).port}\npg${number}-user=postgres\n`
  }
  const optionsOf = (repository: Repository, repo: string) => {
    // The common settings of the first repository may not be repeated.
    const common = repo === 'repo1' ? {} : { 'cipher-type': 'aes-256-cbc', ...FURTHER }
    const place = repository.store ? placeIn(repository.store, repository) : { path: join(folder, repository.folder) }
    const options = { ...common, ...place, 'cipher-pass': repository.key }
    return Object.entries(options)
      .map(([name, value]) => `${repo}-${name}=${value}\n`)
      .join('')
  }

  for (const name of ['spool', 'lock', first.folder]) await makeFolder(name)
  await archiveTo(first)
  const stop = async () => {
    await cluster.stop()
    await rm(folder, { recursive: true, force: true })
  }
  const { hostname, port, username, password } = new URL(cluster.primaryUrl)
  const env = {
    PATH: `${dirname(program)}:${process.env.PATH}`,
    PGHOST: hostname,
    PGPORT: port,
    PGUSER: username,
    PGPASSWORD: password,
    PGBACKREST_CONFIG: configFile,
    POSTGRES_BIN: dirname(programs.binaries.postgres),
    TMPDIR: await makeFolder('scratch'),
  }
  const ofProcess = { ...account, cwd: folder, env }
  return { folder, cluster, programs, run, configFile, process: ofProcess, archiveTo, makeFolder, stop }
}

/** Migrates the database and adds the demo catalogue. Returns a folder, readable by the account, with the programs of the container `backup`. */
export async function installBackup({ cluster, programs, makeFolder }: ArchivingCluster): Promise<string> {
  const { dist } = await buildOfAll()
  const settings = { BOOTSTRAP_API_KEY: 'an-admin-key-of-this-test', SEED: '1' }
  const env = { PATH: process.env.PATH, DATABASE_URL: cluster.primaryUrl, ...settings }
  await promisify(execFile)(process.execPath, [fileURLToPath(new URL('migrate/index.mjs', dist))], { env })
  const app = await makeFolder('app')
  await cp(fileURLToPath(new URL('backup/', dist)), app, { recursive: true })
  await programs.own(app)
  return app
}

/** Runs `npm run backup` with `folder` as PGDATA. Returns its output and its error. */
export function runBackup(
  { process: { env, ...account } }: ArchivingCluster,
  app: string,
  folder: string,
  args: string[],
): Promise<{ printed: string; failed: string }> {
  const options = { ...account, env: { ...env, PGDATA: folder } }
  return promisify(execFile)(process.execPath, [join(app, 'cli.mjs'), ...args], options).then(
    ({ stdout }) => ({ printed: stdout, failed: '' }),
    ({ stdout, stderr }: { stdout: string; stderr: string }) => ({ printed: stdout, failed: stderr }),
  )
}

const FURTHER = { 'retention-full': '2', bundle: 'y', block: 'y' }

/** The settings from docs/runbooks/backup-and-restore.md, with those that a private store needs in addition. */
const placeIn = (store: S3Store, { folder }: Repository) => ({
  type: 's3',
  path: `/${folder}`,
  's3-bucket': store.bucket,
  's3-endpoint': 'localhost',
  's3-region': 'none',
  's3-key': store.accessKey,
  's3-key-secret': store.secretKey,
  's3-uri-style': 'path',
  'storage-port': store.port,
  'storage-ca-file': store.authority,
})
