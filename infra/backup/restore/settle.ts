import { primary, type RequestContext, transaction } from '#database'
import { announceProducts } from '#products'
import { EVENTS_A_SECOND_MAX, HOLDS_KEPT_HOURS } from './mark.ts'

/** The result of settling a promotion. */
export interface Settled {
  /** The time of the last commit that was received. */
  receivedUpTo: Date
  versionLeap: number
  holdsKept: number
  products: number
}

/** The number of holds that are locked at once: some 20 ms. */
const BATCH_MAX = 500

/**
 * Prepares a promoted server for clients that have seen commits which it never received: docs/decisions/0029. Holds are kept, then each product
 * is published anew, with versions past all that the lost commits can have used. It may run while the service runs, and may run again.
 */
export async function settlePromotion(context: RequestContext, onProgress: (done: number) => void): Promise<Settled> {
  const { receivedUpTo, at, seconds } = await record(context)
  const holdsKept = await keepHolds(context, receivedUpTo, at)
  const versionLeap = seconds * EVENTS_A_SECOND_MAX
  // A product is edited less often than once a second.
  const products = await announceProducts(context, onProgress, { stock: versionLeap, product: seconds })
  return { receivedUpTo, versionLeap, holdsKept, products }
}

/**
 * Recorded like a restore without a pause. Relay, consumers and jobs need no pause: lost work is done again, as after a crash. A server that was
 * restarted since its promotion does not know when it received the last commit. A day is more than any replica lags.
 */
async function record(context: RequestContext) {
  return transaction(context, async (tx) => {
    const [row] = await tx<[{ receivedUpTo: Date; at: Date; seconds: number }]>`
      with moment as (select least(now(), coalesce(pg_last_xact_replay_timestamp(), now() - interval '1 day')) as received_up_to)
      insert into restores (restored_to, version_jump, holds_kept_until, resumed_at, resumed_by)
      select received_up_to, ceil(greatest(1, extract(epoch from now() - received_up_to)))::bigint * ${EVENTS_A_SECOND_MAX}::int,
             now() + ${HOLDS_KEPT_HOURS}::int * interval '1 hour', now(), ${context.actor}
      from moment
      returning restored_to as "receivedUpTo", restored_at as at, (version_jump / ${EVENTS_A_SECOND_MAX}::int)::int as seconds`
    return row
  })
}

/** Keeps the holds that existed when the server was promoted: a hold may have been confirmed, and its confirmation lost. */
async function keepHolds(context: RequestContext, receivedUpTo: Date, at: Date): Promise<number> {
  const [{ ids }] = await primary()<[{ ids: string[] }]>`
    select coalesce(array_agg(id order by id), '{}') as ids from reservations
    where state = 'held' and expires_at > ${receivedUpTo} and created_at <= ${at}`
  let kept = 0
  for (let from = 0; from < ids.length; from += BATCH_MAX) {
    const batch = ids.slice(from, from + BATCH_MAX)
    kept += await transaction(context, async (tx) => {
      const held = await tx<Array<{ id: string }>>`
        select id from reservations where id = any(${batch}::uuid[]) and state = 'held' order by id for update`
      const heldIds = held.map(({ id }) => id)
      const until = tx`${at}::timestamptz + ${HOLDS_KEPT_HOURS}::int * interval '1 hour'`
      await tx`update reservations set expires_at = greatest(expires_at, ${until}) where id = any(${heldIds}::uuid[])`
      await tx`
        update reservation_lines set held_until = greatest(held_until, ${until})
        where reservation_id = any(${heldIds}::uuid[]) and held_until is not null`
      return heldIds.length
    })
  }
  return kept
}
