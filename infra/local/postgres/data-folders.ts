import { randomBytes } from 'node:crypto'
import { access, chmod, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { endLeftovers } from './leftovers.ts'
import type { Engine } from './programs.ts'

/** Where one cluster keeps its data. */
export interface Site {
  engine: Engine
  dataDir: string
  primary: string
  replica: string
  hasReplica: boolean
  /** False: nothing is flushed to disk, for tests. */
  durable: boolean
  progress: (line: string) => void
}

/**
 * Brings both data folders to where their servers can start, with no server running: makes what is missing, throws away
 * what was half made, and gives a promoted replica the primary's place.
 */
export async function prepareFolders(site: Site): Promise<void> {
  for (const folder of [site.primary, site.replica]) {
    await endLeftovers(folder, site.progress)
    await discard(`${folder}.new`, site)
  }
  await site.engine.own(site.dataDir)
  await adoptPromotedReplica(site)
  if (!(await isDataFolder(site.primary))) await initialise(site)
  if (site.hasReplica && !(await isDataFolder(site.replica))) await copyReplica(site)
}

/** The superuser's password. It lives inside the data folder, so the two can't be parted by a crash or a copy. */
export async function readPassword(folder: string): Promise<string> {
  const line = await readFile(join(folder, 'pgpass'), 'utf8')
  return line.trim().slice(line.lastIndexOf(':') + 1)
}

/** True when the replica ended its recovery, that is, was promoted: PostgreSQL then removes `standby.signal`. */
export async function isPromoted(folder: string): Promise<boolean> {
  return (await isDataFolder(folder)) && !(await exists(join(folder, 'standby.signal')))
}

/** Makes the replica's folder anew from the primary's, which must be stopped: there is no pg_basebackup in the package. */
export async function copyReplica(site: Site): Promise<void> {
  const { engine, primary, replica } = site
  const unfinished = `${replica}.new`
  site.progress('copying the primary for the replica')
  await endLeftovers(primary, site.progress)
  await shutDownCleanly(site)
  await discard(unfinished, site)
  await engine.run('cp', ['-a', primary, unfinished])
  // The primary's slots would hold back WAL on the replica for ever: nobody reads from them there.
  for (const slot of await readdir(join(unfinished, 'pg_replslot'))) {
    await rm(join(unfinished, 'pg_replslot', slot), { recursive: true })
  }
  await writeFile(join(unfinished, 'standby.signal'), '')
  await discard(replica, site)
  await complete(unfinished, replica, site)
}

/**
 * A promoted replica holds the newest acknowledged writes, so it becomes the primary. It has opened a timeline of its own;
 * without one, something else removed its `standby.signal` and it can't be trusted with the primary's place.
 */
async function adoptPromotedReplica(site: Site): Promise<void> {
  const { primary, replica, progress } = site
  if (!(await isDataFolder(replica))) return
  if (await isDataFolder(primary)) {
    if (!(await isPromoted(replica))) return
    if ((await newestTimeline(replica)) <= (await newestTimeline(primary))) {
      progress('the replica is no standby and was never promoted: setting it aside in `superseded`')
      await setAside(replica, site)
      return
    }
    progress('the replica was promoted earlier: it is the primary now, the old primary is kept in `superseded`')
  } else {
    progress("the primary's data is missing or damaged: the replica takes its place")
    await rm(join(replica, 'standby.signal'), { force: true })
  }
  await setAside(primary, site)
  await rename(replica, primary)
}

/** One folder is kept, not many: enough to look for what was lost, bounded on disk. */
async function setAside(folder: string, site: Site): Promise<void> {
  if (!(await exists(folder))) return
  const superseded = join(site.dataDir, 'superseded')
  await discard(superseded, site)
  await rename(folder, superseded)
}

async function initialise(site: Site): Promise<void> {
  const { engine, primary, dataDir } = site
  if (await exists(primary)) {
    throw new Error(`${primary} is damaged, and there is no replica to take its place: restore it or remove it.`)
  }
  site.progress('initialising PostgreSQL')
  const unfinished = `${primary}.new`
  const passwordFile = join(dataDir, 'password.new')
  const password = randomBytes(18).toString('base64url')
  await rm(passwordFile, { force: true })
  await writeFile(passwordFile, password, { mode: 0o600 })
  await engine.own(passwordFile)
  try {
    const login = ['--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256']
    // The one locale that every machine has, and every version of PostgreSQL: nothing here depends on one.
    const text = ['--encoding=UTF8', '--locale=C']
    await engine.run(engine.binaries.initdb, ['-D', unfinished, '--no-sync', ...login, ...text])
  } finally {
    await rm(passwordFile, { force: true })
  }
  await writeFile(join(unfinished, 'pgpass'), `127.0.0.1:*:*:postgres:${password}\n`)
  await chmod(join(unfinished, 'pgpass'), 0o600)
  await complete(unfinished, primary, site)
}

/** Gives a finished folder its name, the last step of all: a start that was killed before leaves only `….new` behind. */
async function complete(unfinished: string, folder: string, site: Site): Promise<void> {
  await site.engine.own(unfinished)
  // 0.1 s once: without it, a power cut soon after the first start could leave empty files under the final name.
  if (site.durable) await site.engine.run(site.engine.binaries.initdb, ['-D', unfinished, '--sync-only'])
  await rename(unfinished, folder)
  if (!site.durable) return
  const parent = await open(site.dataDir)
  await parent.sync().finally(() => parent.close())
}

/** A crashed primary's folder is complete only after recovery, which a server without connections does and then ends. */
async function shutDownCleanly({ engine, primary, progress }: Site): Promise<void> {
  const SHUT_DOWN = 1
  const control = await readFile(join(primary, 'global/pg_control'))
  // The state is the 32-bit number after the system identifier and two version numbers.
  if (control.readUInt32LE(16) === SHUT_DOWN) return
  progress('recovering the primary first')
  await engine.run(engine.binaries.postgres, ['--single', '-D', primary, 'template1'])
}

async function newestTimeline(folder: string): Promise<number> {
  const names = await readdir(join(folder, 'pg_wal'))
  const timelines = names.filter((name) => /^[0-9A-F]{8}\.history$/.test(name)).map((name) => Number.parseInt(name, 16))
  return Math.max(1, ...timelines)
}

async function discard(folder: string, site: Site): Promise<void> {
  await endLeftovers(folder, site.progress)
  await rm(folder, { recursive: true, force: true, maxRetries: 3 })
}

async function isDataFolder(folder: string): Promise<boolean> {
  return (await exists(join(folder, 'PG_VERSION'))) && (await exists(join(folder, 'global/pg_control')))
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      // Anything but absence (another user's folder, for one) must not be taken for a missing folder and made anew.
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false
      throw error
    },
  )
}
