import type { Binaries } from '../postgres/postgres-binaries.ts'
import { exists, installPackages } from './debian.ts'

/** The oldest supported PostgreSQL, which is the one of Debian 12. */
const FOLDER = '/usr/lib/postgresql/15/bin'
const binaries: Binaries = { postgres: `${FOLDER}/postgres`, initdb: `${FOLDER}/initdb` }

/**
 * Returns the programs of PostgreSQL 15. Installs Debian's package if they are missing and this is root on Debian 12. Otherwise throws an
 * error that says what to do.
 */
export async function ensurePostgres15(progress: (line: string) => void): Promise<Binaries> {
  if (await exists(binaries.postgres)) return binaries
  await installPackages(['postgresql-15'], progress)
  if (await exists(binaries.postgres)) return binaries
  throw new Error(`there is no PostgreSQL 15 in ${FOLDER}: install it (apt-get install postgresql-15)`)
}
