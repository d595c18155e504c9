import { askPrimary, type RequestContext, transaction } from '#database'
import { EXPIRED_MAX, lockStock } from '../balances/lock-stock.ts'

/** 20 batches are 10,000 holds, and take some seconds. The next run ends the rest. */
const BATCHES_MAX = 20

/** Ends overdue holds, a batch per transaction, until none is left or 20 batches are done. Returns the number of ended holds. */
export async function sweepReservations(context: RequestContext): Promise<number> {
  let expired = 0
  for (let batch = 0; batch < BATCHES_MAX; batch++) {
    const rows = await askPrimary(
      (sql) => sql<Array<{ id: string; productIds: string[] }>>`
      select reservation.id, array_agg(line.product_id) as "productIds"
      from (
        select id from reservations where state = 'held' and expires_at <= now() order by expires_at limit ${EXPIRED_MAX}
      ) as reservation
      join reservation_lines as line on line.reservation_id = reservation.id
      group by reservation.id`,
    )
    if (rows.length === 0) break
    const ended = await transaction(context, async (tx) => {
      // Locking the stock ends the overdue holds.
      const stock = await lockStock(
        tx,
        context,
        rows.flatMap((row) => row.productIds),
        { skipLocked: true },
      )
      await stock.save()
      return stock.expiredIds.length
    })
    expired += ended
    // If another sweep ended a full batch first, that sweep continues, so this one can stop.
    if (rows.length < EXPIRED_MAX || ended === 0) break
  }
  return expired
}
