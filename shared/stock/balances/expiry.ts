import type { RequestContext, Sql } from '#database'
import { linesOf, lockReservations } from '../reservations/reservation-rows.ts'
import { endOfHold } from './change.ts'
import type { LockedStock } from './locked-stock.ts'

/** Finds at most `max` overdue holds on any of the products, each with all products that it covers. */
export async function findOverdue(tx: Sql, productIds: string[], max: number): Promise<Map<string, string[]>> {
  const rows = await tx<Array<{ reservationId: string; productId: string }>>`
    select line.reservation_id as "reservationId", line.product_id as "productId"
    from (
      select distinct reservation_id
      from unnest(${productIds}::uuid[]) as wanted (product_id)
      cross join lateral (
        -- The order is the index's own, so that whatever the planner believes, it reads no hold that is not overdue.
        select reservation_id from reservation_lines
        where product_id = wanted.product_id and held_until <= statement_timestamp()
        order by held_until limit ${max}
      ) as held
      limit ${max}
    ) as overdue
    join reservation_lines as line using (reservation_id)`
  const overdue = new Map<string, string[]>()
  for (const { reservationId, productId } of rows) {
    overdue.set(reservationId, [...(overdue.get(reservationId) ?? []), productId])
  }
  return overdue
}

/**
 * Ends, in memory, the given reservations that are held and overdue, and returns their ids. Their products must be locked in `stock`. If another
 * transaction, such as an extension, has locked a reservation's row, this waits for it, or skips the row with `skipLocked`.
 */
export async function expireOverdue(
  tx: Sql,
  context: RequestContext,
  stock: LockedStock,
  reservationIds: string[],
  { skipLocked = false } = {},
): Promise<string[]> {
  const locked = await lockReservations(tx, reservationIds, { skipLocked })
  const overdue = locked.filter(({ state, isOverdue }) => state === 'held' && isOverdue).map(({ id }) => id)
  if (overdue.length === 0) return []
  for (const line of await linesOf(tx, overdue)) {
    stock.change({ ...context, actor: 'function:expire-reservations' }, endOfHold('expired', line))
  }
  return overdue
}
