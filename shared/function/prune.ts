import { prune, type RequestContext } from '#database'

/** Deletes idempotency records that no request can meet any more. Gives how many. */
export function pruneIdempotencyKeys(context: RequestContext): Promise<number> {
  return prune(
    context,
    (tx, limit) => tx`
      delete from idempotency_keys where ctid = any(array(
        select ctid from idempotency_keys where created_at <= now() - interval '24 hours'
        order by created_at limit ${limit}
      ))`,
  )
}
