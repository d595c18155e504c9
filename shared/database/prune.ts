import type { Sql } from './connections/connect.ts'
import type { RequestContext } from './request-context.ts'
import { transaction } from './transactions/transaction.ts'

/** Rows per statement, and statements per run. Locks are short, and one run deletes a backlog of 200,000 rows. */
const BATCH_MAX = 10_000
const BATCHES_MAX = 20

/**
 * Repeats a statement that deletes up to `limit` rows, each time in a transaction of its own, until no rows are left or the run's bound is reached.
 * Returns the number of deleted rows. Select the rows as an array (`ctid = any(array(select …))`): a join that is planned for few rows reads all
 * rows for each one.
 *
 * @example
 * await prune(context, (tx, limit) => tx`delete from inbox where ctid = any(array(select ctid from inbox limit ${limit}))`)
 */
export async function prune(
  context: RequestContext,
  deleteSome: (tx: Sql, limit: number) => Promise<{ count: number }>,
): Promise<number> {
  let deleted = 0
  for (let batch = 0; batch < BATCHES_MAX; batch++) {
    const { count } = await transaction(context, (tx) => deleteSome(tx, BATCH_MAX))
    deleted += count
    if (count < BATCH_MAX) break
  }
  return deleted
}
