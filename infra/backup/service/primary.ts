import { environment } from '#config'
import { type Connection, withConnection } from '../../local/postgres/sql.ts'

/**
 * Does `work` on the server that accepts writes. The servers come from libpq's variables, as libpq itself reads them: PGHOST has their names or
 * the folders of their sockets, and PGPORT has one port for all or one for each. If there is no primary, throws an error with the reason for each.
 */
export async function onPrimary<Result>(
  work: (sql: Connection) => Promise<Result>,
  database = 'postgres',
): Promise<Result> {
  const reasons: string[] = []
  for (const server of servers()) {
    const name = `${server.host}:${server.port}`
    const isPrimary = await withConnection('postgres:///postgres', isPrimaryAt, server).catch(({ message }: Error) => {
      reasons.push(`${name}: ${message}`)
      return undefined
    })
    if (isPrimary) return withConnection(`postgres:///${database}`, work, server)
    if (isPrimary === false) reasons.push(`${name} is a replica`)
  }
  throw new Error(`No server takes writes: ${reasons.join('; ')}`)
}

/**
 * Returns the last segment that the server has archived into every repository, or undefined if there is none yet. The last archived file may be the
 * label of a backup or the history of a timeline, with an earlier position in the WAL. So this also reads the server's list of finished segments.
 */
export async function lastArchivedBy(sql: Connection): Promise<string | undefined> {
  const [row] = await sql<[{ last: string | null }]>`
    select max(left(name, 24)) as last
    from (
      select last_archived_wal as name from pg_stat_archiver
      union all select name from pg_ls_archive_statusdir() where name like '%.done'
    ) as archived
    where name ~ '^[0-9A-F]{24}'`
  return row.last ?? undefined
}

/** The same, from a server in PGHOST. Undefined if it names none, or none answers: then the end of the archive is not known. */
export const lastArchivedIfKnown = () => onPrimaryIfKnown(lastArchivedBy)

/** Returns the result of `work` on the server that accepts writes, or undefined if PGHOST names none, or none answers. */
export async function onPrimaryIfKnown<Result>(
  work: (sql: Connection) => Promise<Result>,
  database?: string,
): Promise<Result | undefined> {
  if (environment().PGHOST === undefined) return undefined
  return onPrimary(work, database).catch(() => undefined)
}

/**
 * Makes a recently promoted server write its new timeline to its control file. The server itself does that at its next checkpoint, which it
 * spreads over minutes. Until then, pgBackRest makes no backup of it. Does nothing if PGHOST names no server. Throws if none of the named
 * servers accepts writes.
 */
export async function checkpointIfPromoted(): Promise<void> {
  if (environment().PGHOST === undefined) return
  await onPrimary(async (sql) => {
    const [row] = await sql<[{ isNoted: boolean }]>`
      select left(pg_walfile_name(pg_current_wal_lsn()), 8) = lpad(upper(to_hex(timeline_id)), 8, '0') as "isNoted"
      from pg_control_checkpoint()`
    if (!row.isNoted) await sql`checkpoint`
  })
}

async function isPrimaryAt(sql: Connection): Promise<boolean> {
  const [row] = await sql<[{ isPrimary: boolean }]>`select not pg_is_in_recovery() as "isPrimary"`
  return row.isPrimary
}

const PORT = '5432'

function servers(): Array<{ host: string; port: number }> {
  const { PGHOST = 'localhost', PGPORT = PORT } = environment()
  const ports = PGPORT.split(',')
  return PGHOST.split(',').map((host, index) => ({ host, port: Number(ports[index] ?? ports[0]) }))
}
