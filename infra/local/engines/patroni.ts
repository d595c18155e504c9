import { delimiter, join } from 'node:path'
import { exists, installPackages } from './debian.ts'

/** The programs for a PostgreSQL that fails over automatically: three programs, and the folder of PostgreSQL's own programs. */
export interface PatroniPrograms {
  patroni: string
  etcd: string
  postgresFolder: string
}

const PACKAGES = ['patroni', 'python3-etcd', 'python3-psycopg2', 'etcd-server', 'postgresql-15']
const POSTGRES_FOLDERS = ['/usr/lib/postgresql/18/bin', '/usr/lib/postgresql/17/bin', '/usr/lib/postgresql/15/bin']

/**
 * Finds Patroni, etcd and PostgreSQL in PATH and Debian's folders. Installs Debian's packages if they are missing and this is root on Debian 12.
 * Otherwise throws an error that says what to do.
 */
export async function ensurePatroni(progress: (line: string) => void): Promise<PatroniPrograms> {
  const found = await findPatroni()
  if (found) return found
  await installPackages(PACKAGES, progress)
  const installed = await findPatroni()
  if (installed) return installed
  throw new Error(
    `there is no patroni, etcd or PostgreSQL with pg_rewind: install them (apt-get install ${PACKAGES.join(' ')})`,
  )
}

async function findPatroni(): Promise<PatroniPrograms | undefined> {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const patroni = await firstOf(folders.map((folder) => join(folder, 'patroni')))
  const etcd = await firstOf(folders.map((folder) => join(folder, 'etcd')))
  const rewind = await firstOf([...POSTGRES_FOLDERS, ...folders].map((folder) => join(folder, 'pg_rewind')))
  return patroni && etcd && rewind ? { patroni, etcd, postgresFolder: join(rewind, '..') } : undefined
}

async function firstOf(paths: string[]): Promise<string | undefined> {
  for (const path of paths) if (await exists(path)) return path
  return undefined
}
