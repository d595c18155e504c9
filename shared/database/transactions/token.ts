import { invalid } from '#errors'
import type { Sql } from '../connections/connect.ts'

/** A position in the write-ahead log. As a `Consistency-Token` it is written `<timeline>-<hi>/<lo>`, all hexadecimal. */
export interface LogPosition {
  timeline: number
  lsn: string
}

const TOKEN = /^([0-9A-F]{1,8})-([0-9A-F]{1,8}\/[0-9A-F]{1,8})$/

export function formatToken({ timeline, lsn }: LogPosition): string {
  return `${timeline.toString(16).toUpperCase()}-${lsn}`
}

/** Throws `validation_failed` for a text that is not a token. */
export function parseToken(token: string): LogPosition {
  const [, timeline, lsn] = TOKEN.exec(token) ?? []
  if (!timeline || !lsn) throw invalid('Consistency-Token', 'is not a token that this service gave out')
  return { timeline: Number.parseInt(timeline, 16), lsn }
}

/** The bytes of log before a position. The difference of two offsets is the distance between two positions of one timeline. */
export function offsetOf(lsn: string): number {
  const [high = '', low = ''] = lsn.split('/')
  // Exact below 2^53: eight pebibytes of log.
  return Number.parseInt(high, 16) * 2 ** 32 + Number.parseInt(low, 16)
}

/** Whether a server at `here` has everything that the log had at `there`. False between timelines, because it is unknown then. */
export function covers(here: LogPosition, there: LogPosition): boolean {
  return here.timeline === there.timeline && offsetOf(here.lsn) >= offsetOf(there.lsn)
}

/** The position one byte before. */
export function justBefore({ timeline, lsn }: LogPosition): LogPosition {
  const offset = Math.max(0, offsetOf(lsn) - 1)
  const [high, low] = [Math.floor(offset / 2 ** 32), offset % 2 ** 32]
  return { timeline, lsn: `${high.toString(16)}/${low.toString(16)}`.toUpperCase() }
}

/**
 * The end of the log at this moment. If sent right behind a COMMIT on the same connection, it is at or past that commit. The timeline is the first
 * eight digits of the log file's name.
 */
export function currentPosition(sql: Sql) {
  return sql<[LogPosition]>`
    select lsn::text as lsn, ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::int as timeline
    from pg_current_wal_lsn() as lsn`
}
