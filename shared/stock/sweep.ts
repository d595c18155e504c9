import { type Caller, primary, transaction } from '#database'
import { openBook } from './lock-stock.ts'

/** Overdue holds a transaction: as many as a book ends when it is opened. */
const BATCH_MAX = 500

/** Ends overdue holds, a batch a transaction, until there are none or `batchesMax` are done. Gives how many it ended. */
export async function sweepReservations(caller: Caller, batchesMax = 20): Promise<number> {
  let expired = 0
  for (let batch = 0; batch < batchesMax; batch++) {
    const rows = await primary()<Array<{ id: string; productIds: string[] }>>`
      select reservation.id, array_agg(line.product_id) as "productIds"
      from (
        select id from reservations where state = 'held' and expires_at <= now() order by expires_at limit ${BATCH_MAX}
      ) as reservation
      join reservation_lines as line on line.reservation_id = reservation.id
      group by reservation.id`
    if (rows.length === 0) break
    const ended = await transaction(caller, async (tx) => {
      // Opening the book is what expires them.
      const book = await openBook(
        tx,
        caller,
        rows.flatMap((row) => row.productIds),
        { skipLocked: true },
      )
      await book.save()
      return book.expiredIds.length
    })
    expired += ended
    // Of a full batch, nothing is left to end where another sweep was faster: it goes on, so this one need not.
    if (rows.length < BATCH_MAX || ended === 0) break
  }
  return expired
}
