import { randomBytes } from 'node:crypto'
import { access, chmod, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { endLeftovers } from './leftovers.ts'
import type { PostgresPrograms } from './programs.ts'

/** The folders and programs of one cluster. */
export interface ClusterLayout {
  programs: PostgresPrograms
  dataDir: string
  primary: string
  replica: string
  hasReplica: boolean
  /** False: nothing is flushed to disk, for tests. */
  durable: boolean
  progress: (line: string) => void
}

/**
 * Prepares both data folders for a start, while no server is running: makes missing folders, removes incomplete ones, and makes a
 * promoted replica the primary.
 */
export async function prepareFolders(layout: ClusterLayout): Promise<void> {
  for (const folder of [layout.primary, layout.replica]) {
    await endLeftovers(folder, layout.progress)
    await discard(`${folder}.new`, layout)
  }
  await layout.programs.own(layout.dataDir)
  await adoptPromotedReplica(layout)
  if (!(await isDataFolder(layout.primary))) await initialise(layout)
  if (layout.hasReplica && !(await isDataFolder(layout.replica))) await copyReplica(layout)
}

/** Reads the superuser's password. It is inside the data folder, so that no crash or copy separates the two. */
export async function readPassword(folder: string): Promise<string> {
  const line = await readFile(join(folder, 'pgpass'), 'utf8')
  return line.trim().slice(line.lastIndexOf(':') + 1)
}

/** Whether the replica was promoted. PostgreSQL removes `standby.signal` at the end of recovery. */
export async function isPromoted(folder: string): Promise<boolean> {
  return (await isDataFolder(folder)) && !(await exists(join(folder, 'standby.signal')))
}

/** Copies the primary's folder for the replica: the package has no pg_basebackup. The primary must be stopped. */
export async function copyReplica(layout: ClusterLayout): Promise<void> {
  const { programs, primary, replica } = layout
  const unfinished = `${replica}.new`
  layout.progress('copying the primary for the replica')
  await endLeftovers(primary, layout.progress)
  await shutDownCleanly(layout)
  await discard(unfinished, layout)
  await programs.run('cp', ['-a', primary, unfinished])
  // The copied slots would keep WAL on the replica for ever, since nothing reads from them there.
  for (const slot of await readdir(join(unfinished, 'pg_replslot'))) {
    await rm(join(unfinished, 'pg_replslot', slot), { recursive: true })
  }
  await writeFile(join(unfinished, 'standby.signal'), '')
  await discard(replica, layout)
  await complete(unfinished, replica, layout)
}

/**
 * A promoted replica has the newest acknowledged writes, so it becomes the primary. A promotion starts a new timeline. Without a new
 * timeline, something else removed `standby.signal`, and the replica must not become the primary.
 */
async function adoptPromotedReplica(layout: ClusterLayout): Promise<void> {
  const { primary, replica, progress } = layout
  if (!(await isDataFolder(replica))) return
  if (await isDataFolder(primary)) {
    if (!(await isPromoted(replica))) return
    if ((await newestTimeline(replica)) <= (await newestTimeline(primary))) {
      progress('the replica is no standby and was never promoted: setting it aside in `superseded`')
      await setAside(replica, layout)
      return
    }
    progress('the replica was promoted earlier: it is the primary now, the old primary is kept in `superseded`')
  } else {
    progress("the primary's data is missing or damaged: the replica takes its place")
    await rm(join(replica, 'standby.signal'), { force: true })
  }
  await setAside(primary, layout)
  await rename(replica, primary)
}

/** Keeps one old folder, in which lost writes can be looked up. Keeps only one, to limit the disk space. */
async function setAside(folder: string, layout: ClusterLayout): Promise<void> {
  if (!(await exists(folder))) return
  const superseded = join(layout.dataDir, 'superseded')
  await discard(superseded, layout)
  await rename(folder, superseded)
}

async function initialise(layout: ClusterLayout): Promise<void> {
  const { programs, primary, dataDir } = layout
  if (await exists(primary)) {
    throw new Error(`${primary} is damaged, and there is no replica to take its place: restore it or remove it.`)
  }
  layout.progress('initialising PostgreSQL')
  const unfinished = `${primary}.new`
  const passwordFile = join(dataDir, 'password.new')
  const password = randomBytes(18).toString('base64url')
  await rm(passwordFile, { force: true })
  await writeFile(passwordFile, password, { mode: 0o600 })
  await programs.own(passwordFile)
  try {
    const login = ['--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256']
    // C is the only locale that every machine and every version of PostgreSQL has. Nothing here depends on a locale.
    const text = ['--encoding=UTF8', '--locale=C']
    await programs.run(programs.binaries.initdb, ['-D', unfinished, '--no-sync', ...login, ...text])
  } finally {
    await rm(passwordFile, { force: true })
  }
  await writeFile(join(unfinished, 'pgpass'), `127.0.0.1:*:*:postgres:${password}\n`)
  await chmod(join(unfinished, 'pgpass'), 0o600)
  await complete(unfinished, primary, layout)
}

/** Gives a finished folder its final name, as the last step: a start that was killed earlier leaves only `….new` behind. */
async function complete(unfinished: string, folder: string, layout: ClusterLayout): Promise<void> {
  await layout.programs.own(unfinished)
  // Takes 0.1 s, once. Without it, a power cut soon after the first start could leave empty files under the final name.
  if (layout.durable) await layout.programs.run(layout.programs.binaries.initdb, ['-D', unfinished, '--sync-only'])
  await rename(unfinished, folder)
  if (!layout.durable) return
  const parent = await open(layout.dataDir)
  await parent.sync().finally(() => parent.close())
}

/** The folder of a crashed primary is complete only after recovery. A single-user server does the recovery and then ends. */
async function shutDownCleanly({ programs, primary, progress }: ClusterLayout): Promise<void> {
  const SHUT_DOWN = 1
  const control = await readFile(join(primary, 'global/pg_control'))
  // The cluster state is the 32-bit number after the system identifier and two version numbers.
  if (control.readUInt32LE(16) === SHUT_DOWN) return
  progress('recovering the primary first')
  await programs.run(programs.binaries.postgres, ['--single', '-D', primary, 'template1'])
}

async function newestTimeline(folder: string): Promise<number> {
  const names = await readdir(join(folder, 'pg_wal'))
  const timelines = names.filter((name) => /^[0-9A-F]{8}\.history$/.test(name)).map((name) => Number.parseInt(name, 16))
  return Math.max(1, ...timelines)
}

async function discard(folder: string, layout: ClusterLayout): Promise<void> {
  await endLeftovers(folder, layout.progress)
  await rm(folder, { recursive: true, force: true, maxRetries: 3 })
}

async function isDataFolder(folder: string): Promise<boolean> {
  return (await exists(join(folder, 'PG_VERSION'))) && (await exists(join(folder, 'global/pg_control')))
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      // Any other error (such as another user's folder) must not be taken for a missing folder, which would be made anew.
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false
      throw error
    },
  )
}
