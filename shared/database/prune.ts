import type { Sql } from './connections/connect.ts'
import type { RequestContext } from './request-context.ts'
import { transaction } from './transactions/transaction.ts'

/** Rows a statement, and statements a run: a run never holds locks for long, and a backlog of 200,000 is gone in one. */
const BATCH_MAX = 10_000
const BATCHES_MAX = 20

/**
 * Runs a statement that deletes up to `limit` rows, a transaction each, until there are no more. Gives how many it deleted.
 * Choose the rows as an array (`ctid = any(array(select …))`): planned for few rows, a join with them looks at all for each.
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
