import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { type Connection, withConnection } from '../../local/postgres/sql.ts'
import { type CopiedFile, copyFolder, digest, digestFolder, syncFolders } from './copy.ts'

/** How many backups are kept. Each is as large as the data. */
export const KEPT_MAX = 7

const CopySchema = z.object({
  name: z.string(),
  startedAt: z.iso.datetime().transform((text) => new Date(text)),
  endedAt: z.iso.datetime().transform((text) => new Date(text)),
  files: z.array(z.object({ path: z.string(), bytes: z.number(), sha256: z.string() })),
})
/** A copy of the embedded primary's data, with the sizes and digests that its files must have. */
export type Copy = z.infer<typeof CopySchema>

const folderOf = (dataDir: string) => join(dataDir, 'backups')
export const dataOf = (dataDir: string, name: string) => join(folderOf(dataDir), name, 'data')

/** Lists the copies, the oldest first. An unfinished copy does not count. */
export async function listCopies(dataDir: string): Promise<Copy[]> {
  const names = (await readdir(folderOf(dataDir)).catch(() => [])).filter((name) => /^\d{8}-\d{6}$/.test(name)).sort()
  return Promise.all(
    names.map(async (name) =>
      CopySchema.parse(JSON.parse(await readFile(join(folderOf(dataDir), name, 'backup.json'), 'utf8'))),
    ),
  )
}

/** Copies the data of the embedded primary while it runs, and removes all but the newest copies. */
export async function copyRunning(dataDir: string, url: string): Promise<Copy> {
  const startedAt = new Date()
  const name = startedAt.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15)
  const unfinished = join(folderOf(dataDir), `${name}.new`)
  await rm(unfinished, { recursive: true, force: true })
  await mkdir(unfinished, { recursive: true, mode: 0o700 })
  try {
    const primary = join(dataDir, 'postgres/primary')
    const files = await withConnection(url, (sql) => copyConsistently(sql, primary, join(unfinished, 'data')))
    const copy = { name, startedAt, endedAt: new Date(), files }
    await writeFile(join(unfinished, 'backup.json'), JSON.stringify(copy), { mode: 0o600, flush: true })
    await syncFolders(unfinished)
    await rename(unfinished, join(folderOf(dataDir), name))
    await syncFolders(folderOf(dataDir))
    return copy
  } finally {
    await rm(unfinished, { recursive: true, force: true })
    await removeOld(dataDir)
  }
}

/** https://www.postgresql.org/docs/18/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP */
async function copyConsistently(sql: Connection, from: string, to: string): Promise<CopiedFile[]> {
  // This slot keeps the WAL that is written during the copy. It disappears with the connection.
  const slot = `backup_${process.pid}`
  await sql`select pg_create_physical_replication_slot(${slot}, true, true)`
  await sql`select pg_backup_start('copy', fast => true)`
  const files = await copyFolder(from, to, (path) => path.startsWith('pg_wal/'))
  const [label] = await sql<[{ text: string }]>`select labelfile as text from pg_backup_stop(wait_for_archive => false)`
  const log = await copyFolder(join(from, 'pg_wal'), join(to, 'pg_wal'))
  const [{ status }] = await sql<[{ status: string }]>`
    select wal_status as status from pg_replication_slots where slot_name = ${slot}`
  if (status === 'lost')
    throw new Error('More was written meanwhile than PostgreSQL may keep: try again when there is less to do.')
  await writeFile(join(to, 'backup_label'), label.text, { mode: 0o600 })
  const ofLog = log.map((file) => ({ ...file, path: `pg_wal/${file.path}` }))
  return [...files, ...ofLog, { path: 'backup_label', ...(await digest(join(to, 'backup_label'))) }]
}

async function removeOld(dataDir: string): Promise<void> {
  const copies = await listCopies(dataDir)
  for (const { name } of copies.slice(0, -KEPT_MAX))
    await rm(join(folderOf(dataDir), name), { recursive: true, force: true })
}

/** Returns a sentence for each file of a copy that has changed. */
export async function damageOf(dataDir: string, { name, files }: Copy): Promise<string[]> {
  const now = new Map((await digestFolder(dataOf(dataDir, name))).map((file) => [file.path, file.sha256]))
  return files.flatMap(({ path, sha256 }) => {
    const found = now.get(path)
    if (found === sha256) return []
    return [
      found === undefined ? `backup ${name} lacks ${path}` : `backup ${name}: ${path} has changed since it was made`,
    ]
  })
}
