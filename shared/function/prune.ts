import { type Caller, transaction } from '#database'

/** Rows a statement, and statements a run: a run never holds locks for long, and a backlog of 200,000 is gone in one. */
const BATCH_MAX = 10_000
const BATCHES_MAX = 20

/** Deletes idempotency records that no request can meet any more. Gives how many. */
export async function pruneIdempotencyKeys(caller: Caller): Promise<number> {
  let deleted = 0
  for (let batch = 0; batch < BATCHES_MAX; batch++) {
    const { count } = await transaction(
      caller,
      (tx) => tx`
        delete from idempotency_keys where (api_key_id, key) in (
          select api_key_id, key from idempotency_keys where created_at <= now() - interval '24 hours'
          order by created_at limit ${BATCH_MAX}
        )`,
    )
    deleted += count
    if (count < BATCH_MAX) break
  }
  return deleted
}
