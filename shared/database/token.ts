import { invalid } from '#errors'
import type { Sql } from './connections.ts'

/** A place in the write-ahead log: what `Consistency-Token` carries, written `<timeline>-<hi>/<lo>`, all hexadecimal. */
export interface LogPosition {
  timeline: number
  lsn: string
}

const TOKEN = /^([0-9A-F]{1,8})-([0-9A-F]{1,8}\/[0-9A-F]{1,8})$/

export function formatToken({ timeline, lsn }: LogPosition): string {
  return `${timeline.toString(16).toUpperCase()}-${lsn}`
}

/** Throws `validation_failed` for anything that was never a token. */
export function parseToken(token: string): LogPosition {
  const [, timeline, lsn] = TOKEN.exec(token) ?? []
  if (!timeline || !lsn) throw invalid('Consistency-Token', 'is not a token that this service gave out')
  return { timeline: Number.parseInt(timeline, 16), lsn }
}

/**
 * The end of the log at this moment. Sent right behind a COMMIT on its connection, it lies at or past that commit.
 * The timeline is the first eight digits of the log file's name.
 */
export function currentPosition(sql: Sql) {
  return sql<[LogPosition]>`
    select lsn::text as lsn, ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::int as timeline
    from pg_current_wal_lsn() as lsn`
}
