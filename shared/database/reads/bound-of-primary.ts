import { type BulkheadPolicy, bulkhead } from 'cockatiel'
import { gauge } from '#telemetry'
import { databaseSettings } from '../connections/settings.ts'

/**
 * While the primary stands in for the replica: reads in flight for each connection (the driver pipelines them), and reads that wait for their turn.
 * At 1 ms a read, the queue takes 50 ms.
 */
const STAND_IN_MAX = 4
const STAND_IN_WAITING_MAX = 500
/** The same bounds without a replica, where the primary serves all reads. A function's own limit is lower. */
const ALONE_MAX = 50
const ALONE_WAITING_MAX = 10_000

const bounds = new Map<string, { limit: number; bound: BulkheadPolicy }>()

const reads = gauge('database_primary_reads_in_flight', 'Reads on the primary, by what they are of.', ['of'], () => {
  for (const [of, { limit, bound }] of bounds) reads.set({ of }, limit - bound.executionSlots)
})
const readsLimit = gauge(
  'database_primary_reads_limit',
  'Reads on the primary at once; the next ones wait.',
  ['of'],
  () => {
    for (const [of, { limit }] of bounds) readsLimit.set({ of }, limit)
  },
)

/** A bulkhead for reads of the primary: a lagging replica must not overload the primary. `of` is what the reads are of, for the metrics. */
export function boundOfPrimary(of: 'rows' | 'keys'): BulkheadPolicy {
  const { DATABASE_REPLICA_URL, DATABASE_POOL_MAX } = databaseSettings()
  const [each, waiting] =
    DATABASE_REPLICA_URL === undefined ? [ALONE_MAX, ALONE_WAITING_MAX] : [STAND_IN_MAX, STAND_IN_WAITING_MAX]
  const limit = each * DATABASE_POOL_MAX
  const bound = bulkhead(limit, waiting)
  bounds.set(of, { limit, bound })
  return bound
}
