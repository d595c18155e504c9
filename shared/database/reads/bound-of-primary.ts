import { bulkhead } from 'cockatiel'
import { databaseSettings } from '../connections/settings.ts'

/**
 * Reads that the primary is asked at a time while it stands in for the replica, for each connection: the driver sends them one
 * behind the other. And those that wait for that: at 1 ms a read, they are through in 50 ms.
 */
const STAND_IN_MAX = 4
const STAND_IN_WAITING_MAX = 500
/** The same where there is no replica, and the primary is there for reads too; a function's own limit is below that. */
const ALONE_MAX = 50
const ALONE_WAITING_MAX = 10_000

/** Bounds what the primary is asked: a replica that lags must not bring it down. */
export function boundOfPrimary() {
  const { DATABASE_REPLICA_URL, DATABASE_POOL_MAX } = databaseSettings()
  return DATABASE_REPLICA_URL === undefined
    ? bulkhead(ALONE_MAX * DATABASE_POOL_MAX, ALONE_WAITING_MAX)
    : bulkhead(STAND_IN_MAX * DATABASE_POOL_MAX, STAND_IN_WAITING_MAX)
}
