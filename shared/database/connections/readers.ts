import { connect, type Sql } from './connect.ts'
import { createLeasePool, type LeasePool } from './lease-pool.ts'
import { databaseSettings } from './settings.ts'

/** One server's connections for what changes nothing. Each kind of question has its own: none waits behind another's. */
export interface Readers {
  /** For statements that find some rows by an index: sent one behind the other. */
  rows: Sql
  /** For the look-ups of API keys, which every request begins with. */
  keys: Sql
  /** For statements that may look through a table: one at a time on each. */
  scans: LeasePool
  /** What is in flight fails after `seconds`. */
  end: (seconds: number) => Promise<unknown>
}

interface ReadersOptions {
  isPrimary?: boolean
  onclose?: () => void
  /** The server ends a statement that takes longer, so that one which nobody waits for any more does not go on there. */
  statementMaxMs: number
}

/** A scan keeps a core of the database's machine busy, and two leave most machines something for what is sold meanwhile. */
const SCANS_MAX = 2
/** Scans that may wait, and how long: with its own time, within what a request may take. */
const SCANS_WAITING_MAX = 50
const SCAN_WAIT_MS = 1_500

export function openReaders(url: string, { statementMaxMs, ...options }: ReadersOptions): Readers {
  const rows = connect(url, { ...options, statementMaxMs, max: databaseSettings().DATABASE_POOL_MAX })
  // A look-up takes less than a millisecond, and a key that has been looked up is known for a while.
  const keys = connect(url, { ...options, statementMaxMs, max: 1 })
  const scans = createLeasePool(url, {
    ...options,
    max: SCANS_MAX,
    waitersMax: SCANS_WAITING_MAX,
    waitMs: SCAN_WAIT_MS,
  })
  const end = (seconds: number) =>
    Promise.all([rows.end({ timeout: seconds }), keys.end({ timeout: seconds }), scans.end(seconds)])
  return { rows, keys, scans, end }
}
