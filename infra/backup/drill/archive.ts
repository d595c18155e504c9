import { randomBytes } from 'node:crypto'
import { chmod, mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findPrograms, type PostgresPrograms } from '../../local/postgres/programs.ts'
import { withConnection } from '../../local/postgres/sql.ts'
import { type PgBackRest, pgBackRest, STANZA } from '../repository/pgbackrest.ts'
import { commonConfiguration } from '../settings.ts'

/** The WAL archive and the backups of one cluster, in a folder beside it. */
export interface Archive {
  folder: string
  /** The configuration of pgBackRest, with the path of the repository and its key. */
  configFile: string
  /** The cluster's programs, and the account that owns its files. */
  programs: PostgresPrograms
  run: PgBackRest
}

const configFileIn = (folder: string) => join(folder, 'pgbackrest.conf')

/** PostgreSQL's `archive_command` for the archive in `folder`. */
export const archiveCommand = (folder: string, program: string) =>
  `${program} --config=${configFileIn(folder)} --stanza=${STANZA} archive-push %p`

/**
 * Makes an empty repository in `folder`, with its own key, for the cluster in its subfolder `cluster`, whose primary runs at `url`. Segments
 * that the server tries to archive earlier are refused, and archived later.
 */
export async function createArchive(
  { folder, cluster, url, program }: { folder: string; cluster: string; url: string; program: string },
  signal?: AbortSignal,
): Promise<Archive> {
  // The servers' account, which is not root, must be able to pass through this folder.
  await chmod(folder, 0o711)
  const dataDir = join(folder, cluster)
  const configFile = configFileIn(folder)
  const own = `[global]
repo1-path=${folder}/repository
repo1-cipher-pass=${randomBytes(24).toString('base64url')}
spool-path=${folder}/spool
lock-path=${folder}/lock

[${STANZA}]
pg1-path=${dataDir}/primary
pg1-port=${new URL(url).port}
pg1-user=postgres
`
  const folders = ['repository', 'spool', 'lock'].map((name) => join(folder, name))
  for (const path of folders) await mkdir(path)
  await writeFile(configFile, `${await commonConfiguration()}\n${own}`, { mode: 0o600 })
  const programs = await findPrograms(dataDir)
  for (const path of [configFile, ...folders]) await programs.own(path)
  const environment = { PGHOST: '127.0.0.1', PGPASSFILE: join(dataDir, 'primary/pgpass') }
  const run = pgBackRest({ program, configFile, environment, ...(await accountOf(dataDir)), ...(signal && { signal }) })
  await run('stanza-create')
  return { folder, configFile, programs, run }
}

/** The account of the servers, if this process is root. It owns their files. */
async function accountOf(path: string) {
  const { uid, gid } = await stat(path)
  return process.getuid?.() === 0 ? { account: { uid, gid } } : {}
}

/** Returns the last WAL segment that the server knows to be archived, or an empty text if there is none. */
export function lastArchived(url: string): Promise<string> {
  return withConnection(url, async (sql) => {
    const [row] = await sql<[{ last: string | null }]>`select last_archived_wal as last from pg_stat_archiver`
    // Only the name of a segment, without the longer label of a backup. All names are of one timeline.
    return (row.last ?? '').slice(0, 24)
  })
}

/** Records ten times a second which segment is being written. */
export function watchPositions(url: string) {
  const seen = new Map<string, number>()
  let isStopped = false
  const watching = withConnection(url, async (sql) => {
    while (!isStopped) {
      const [row] = await sql<[{ segment: string }]>`select pg_walfile_name(pg_current_wal_insert_lsn()) as segment`
      seen.set(row.segment, Date.now())
      await delay(100)
    }
  }).catch(() => {})
  return {
    /** Returns when a segment, or the last one seen before it, was last written to. Returns -Infinity if none was seen. */
    writtenAt: (segment: string) => Math.max(...[...seen].filter(([name]) => name <= segment).map(([, at]) => at)),
    stop: () => {
      isStopped = true
      return watching
    },
  }
}
