import { bulkhead } from 'cockatiel'
import { databaseSettings } from '../connections/settings.ts'

/**
 * Reads in flight on the primary while it stands in for the replica, for each connection (the driver pipelines them), and reads that wait
 * for that: at 1 ms a read, the queue takes 50 ms.
 */
const STAND_IN_MAX = 4
const STAND_IN_WAITING_MAX = 500
/** The same without a replica, where the primary serves all reads. A function's own limit is lower. */
const ALONE_MAX = 50
const ALONE_WAITING_MAX = 10_000

/** A bulkhead for reads of the primary: a replica that lags must not overload it. */
export function boundOfPrimary() {
  const { DATABASE_REPLICA_URL, DATABASE_POOL_MAX } = databaseSettings()
  return DATABASE_REPLICA_URL === undefined
    ? bulkhead(ALONE_MAX * DATABASE_POOL_MAX, ALONE_WAITING_MAX)
    : bulkhead(STAND_IN_MAX * DATABASE_POOL_MAX, STAND_IN_WAITING_MAX)
}
