import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, type Dirent } from 'node:fs'
import { chmod, mkdir, open, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** A file of a copy, with its path inside the copy. */
export interface CopiedFile {
  path: string
  bytes: number
  sha256: string
}

/** Files that a server makes anew or must not find: https://www.postgresql.org/docs/18/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP-DATA */
const LEFT_OUT =
  /^(postmaster\.(pid|opts)|pg_replslot\/.+|pg_(dynshmem|notify|serial|snapshots|stat_tmp|subtrans)\/.+|(.*\/)?pgsql_tmp.*|standby\.signal)$/

/**
 * Copies a data folder of PostgreSQL, except for the files that `isLeftOut` selects and those that no copy should have. A file that a
 * running server removes meanwhile is not part of the copy. Returns the copied files, in the order of their paths.
 */
export async function copyFolder(
  from: string,
  to: string,
  isLeftOut: (path: string) => boolean = () => false,
): Promise<CopiedFile[]> {
  const copied: CopiedFile[] = []
  await mkdir(to, { recursive: true, mode: 0o700 })
  for (const path of await pathsIn(from)) {
    if (path.isFolder) await mkdir(join(to, path.name), { recursive: true, mode: 0o700 })
    else if (!isLeftOut(path.name)) {
      const file = await copyFile(join(from, path.name), join(to, path.name)).catch(unlessGone)
      if (file) copied.push({ path: path.name, ...file })
    }
  }
  return copied
}

/** Flushes the directory entries of a folder and of its subfolders to the disk. Their files are flushed when they are written. */
export async function syncFolders(root: string): Promise<void> {
  const folders = (await pathsIn(root)).filter(({ isFolder }) => isFolder)
  for (const folder of [...folders.map(({ name }) => join(root, name)), root]) {
    const handle = await open(folder)
    await handle.sync().finally(() => handle.close())
  }
}

/** Returns the current digests of a folder's files, in the form that `copyFolder` returns. */
export async function digestFolder(folder: string): Promise<CopiedFile[]> {
  const files = (await pathsIn(folder)).filter(({ isFolder }) => !isFolder)
  const digests: CopiedFile[] = []
  for (const { name } of files) digests.push({ path: name, ...(await digest(join(folder, name))) })
  return digests
}

async function pathsIn(root: string): Promise<Array<{ name: string; isFolder: boolean }>> {
  const found: Array<{ name: string; isFolder: boolean }> = []
  const visit = async (folder: string) => {
    const entries: Dirent[] = await readdir(join(root, folder), { withFileTypes: true }).catch(
      (error) => unlessGone(error) ?? [],
    )
    for (const entry of entries) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (LEFT_OUT.test(name)) continue
      found.push({ name, isFolder: entry.isDirectory() })
      if (entry.isDirectory()) await visit(name)
    }
  }
  await visit('')
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function copyFile(from: string, to: string): Promise<Omit<CopiedFile, 'path'>> {
  await mkdir(dirname(to), { recursive: true, mode: 0o700 })
  return digest(from, to)
}

/** Computes the digest of a file, and copies the file to `to` if that is given. */
export async function digest(from: string, to?: string): Promise<Omit<CopiedFile, 'path'>> {
  const hash = createHash('sha256')
  let bytes = 0
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      bytes += chunk.length
      done(null, to === undefined ? undefined : chunk)
    },
  })
  if (to === undefined) await pipeline(createReadStream(from), meter.resume())
  else await pipeline(createReadStream(from), meter, createWriteStream(to, { mode: 0o600, flush: true }))
  if (to !== undefined) await chmod(to, 0o600)
  return { bytes, sha256: hash.digest('hex') }
}

function unlessGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
