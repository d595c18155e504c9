import { connect, type Sql } from './connect.ts'
import { createLeasePool, type LeasePool } from './pool/lease-pool.ts'
import { databaseSettings } from './settings.ts'

/** One server's connections for reads. Each kind of read has its own connections, so that no kind waits for another. */
export interface Readers {
  /** For statements that find some rows by an index. They are pipelined. */
  rows: Sql
  /** For look-ups of API keys, with which every request begins. */
  keys: Sql
  /** For statements that may scan a table: one at a time on each connection. */
  scans: LeasePool
  /** Statements that are still in flight after `seconds` fail. */
  end: (seconds: number) => Promise<unknown>
}

interface ReadersOptions {
  isPrimary?: boolean
  onclose?: () => void
  /** The server ends a statement that takes longer, so that it does not run on when nothing waits for it. */
  statementMaxMs: number
}

/** A scan keeps one core of the database's machine busy. With two scans, most machines have cores left for reservations. */
const SCANS_MAX = 2
/** How many scans may wait, and how long: the wait and the scan fit into a request's time. */
const SCANS_WAITING_MAX = 50
const SCAN_WAIT_MS = 1_500

export function openReaders(url: string, { statementMaxMs, ...options }: ReadersOptions): Readers {
  const rows = connect(url, { ...options, statementMaxMs, max: databaseSettings().DATABASE_POOL_MAX })
  // A look-up takes less than a millisecond, and its result is cached for a while.
  const keys = connect(url, { ...options, statementMaxMs, max: 1 })
  const scans = createLeasePool(url, {
    ...options,
    name: options.isPrimary ? 'primary-scans' : 'replica-scans',
    max: SCANS_MAX,
    waitersMax: SCANS_WAITING_MAX,
    waitMs: SCAN_WAIT_MS,
  })
  const end = (seconds: number) =>
    Promise.all([rows.end({ timeout: seconds }), keys.end({ timeout: seconds }), scans.end(seconds)])
  return { rows, keys, scans, end }
}
