import { prune } from '../prune.ts'
import type { RequestContext } from '../request-context.ts'

/** Deletes idempotency records that have expired. Returns their number. */
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
