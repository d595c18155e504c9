import { type RequestContext, type Sql, snapshot } from '#database'
import { ServiceError } from '#errors'
import type { Audit } from '../schema.ts'
import { noteAudit } from './audit-metrics.ts'

/** Products per statement: some milliseconds of work, or a second if each has a long ledger. */
const CHUNK_MAX = 1_000
/** More would not help a person: the first discrepancies show where to look. */
const DISCREPANCIES_MAX = 100

/**
 * Checks every product, including deleted ones, at one moment. The quantity on hand must be the sum of the ledger; the reserved quantity must be
 * the sum of the ledger, and of the lines of held reservations. Reports its progress after each chunk.
 */
export function auditStock(
  onProgress: (done: number, total: number) => Promise<void> = async () => {},
): Promise<Audit> {
  return snapshot(async (sql) => {
    const total = await countProducts(sql)
    const next = (after: string | undefined) => nextProducts(sql, after, CHUNK_MAX)
    const discrepancies: Audit['discrepancies'] = []
    let consistent = true
    let done = 0
    // Bounded: the snapshot's products don't change, and each chunk covers some of them.
    for (let chunk = await next(undefined); chunk.length > 0; chunk = await next(chunk.at(-1))) {
      const found = await findDiscrepancies(sql, chunk)
      consistent &&= found.length === 0
      discrepancies.push(...found.slice(0, DISCREPANCIES_MAX - discrepancies.length))
      done += chunk.length
      await onProgress(done, total)
    }
    noteAudit(consistent)
    return { consistent, checkedProducts: done, discrepancies }
  })
}

/** The same audit for a client. It ends when the client disconnects or times out, since an audit can take minutes. */
export function auditFor(context: RequestContext): Promise<Audit> {
  return auditStock(async () => {
    if (context.isGone())
      throw new ServiceError('client_closed_request', 'The client disconnected before the audit was over.')
  })
}

export async function countProducts(sql: Sql): Promise<number> {
  const [{ count }] = await sql<[{ count: number }]>`select count(*) from products`
  return count
}

/** At most `max` products after this one, by id. */
export async function nextProducts(sql: Sql, after: string | undefined, max: number): Promise<string[]> {
  const rows = await sql<Array<{ id: string }>>`
    select id from products where ${after === undefined ? sql`true` : sql`id > ${after}`} order by id limit ${max}`
  return rows.map(({ id }) => id)
}

/** Finds where the balances of these products differ from the ledger or from the held quantities. */
export function findDiscrepancies(sql: Sql, productIds: string[]) {
  return sql<Audit['discrepancies']>`
    with level as (
      select product_id, location, on_hand, reserved from stock_levels where product_id = any(${productIds}::uuid[])
    ), ledger as (
      select product_id, location, sum(on_hand_delta)::bigint as on_hand, sum(reserved_delta)::bigint as reserved
      from stock_movements where product_id = any(${productIds}::uuid[]) group by product_id, location
    ), held as (
      select line.product_id, line.location, sum(line.quantity)::bigint as reserved
      from reservation_lines as line
      join reservations as reservation on reservation.id = line.reservation_id and reservation.state = 'held'
      where line.product_id = any(${productIds}::uuid[]) group by line.product_id, line.location
    )
    select * from (
      select product_id as "productId", location,
             coalesce(level.on_hand, 0) as "onHand", coalesce(level.reserved, 0) as reserved,
             coalesce(ledger.on_hand, 0) as "ledgerOnHand", coalesce(ledger.reserved, 0) as "ledgerReserved",
             coalesce(held.reserved, 0) as "heldReserved"
      from level full join ledger using (product_id, location) full join held using (product_id, location)
    ) as balance
    where "onHand" <> "ledgerOnHand" or reserved <> "ledgerReserved" or reserved <> "heldReserved"
    order by "productId", location`
}
