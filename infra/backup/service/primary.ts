import { environment } from '#config'
import { type Connection, withConnection } from '../../local/postgres/sql.ts'

/**
 * Does `work` on the server that takes writes. libpq's own variables say which ones there are, as it reads them itself: PGHOST has their names, or the
 * folders of their sockets, and PGPORT one port for all of them or one for each. Throws with why each is no primary where none is.
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
 * The last segment that the server has archived, into every repository; undefined where it has archived none yet. What it has archived last may be the
 * label of a backup, or the history of a timeline, and earlier in the log than that; so its notes on what is done with are read as well.
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

/** The same, by a server that PGHOST names; undefined where it names none, or none answers: the end of the archive is not known then. */
export const lastArchivedIfKnown = () => onPrimaryIfKnown(lastArchivedBy)

/** What `work` finds on the server that takes writes; undefined where PGHOST names none, or none answers. */
export async function onPrimaryIfKnown<Result>(
  work: (sql: Connection) => Promise<Result>,
  database?: string,
): Promise<Result | undefined> {
  if (environment().PGHOST === undefined) return undefined
  return onPrimary(work, database).catch(() => undefined)
}

/**
 * Has a server that was promoted a moment ago note its new timeline in its control file. It does so by itself with its next checkpoint, which
 * it spreads over minutes; until then pgBackRest makes no backup of it. Does nothing where PGHOST names no server.
 * Throws where none of those takes writes.
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
