import { cached } from '#cache'
import { type RequestContext, read, type Sql } from '#database'
import { notFound } from '#errors'
import { cacheGroup } from './cache-group.ts'
import type { ProductStock } from './schema.ts'

/** Throws `product_not_found` unless the product exists, or did before it was deleted: its ledger is kept. */
export async function requireKnownProduct(productId: string, context: RequestContext): Promise<void> {
  const find = async (sql: Sql) => (await sql`select 1 from products where id = ${productId}`).length > 0
  if (!(await read(context, find, (found) => !found))) throw notFound('product', productId)
}

interface BalanceRow {
  location: string
  onHand: number
  reserved: number
}

/** A product's stock, over all locations and at each. What an overdue hold still reserves counts as available. */
export async function getStock(productId: string, context: RequestContext): Promise<ProductStock> {
  const rows = await cached(stockCache(productId), context, async (sql) => {
    const found = await balances(sql, productId)
    return found.length === 0 ? null : [...found]
  })
  if (rows === null) throw notFound('product', productId)
  const locations = rows.map((row) => ({ ...row, available: row.onHand - row.reserved }))
  const onHand = locations.reduce((sum, row) => sum + row.onHand, 0)
  const reserved = locations.reduce((sum, row) => sum + row.reserved, 0)
  return { productId, onHand, reserved, available: onHand - reserved, locations }
}

/** A hold that becomes overdue changes the stock without a write, and so without an invalidation: so entries live for a short time. */
const stockCache = (productId: string) => ({
  name: 'stock',
  key: `stock ${productId}`,
  group: cacheGroup(productId),
  freshMs: 250,
})

function balances(sql: Sql, productId: string) {
  return sql<BalanceRow[]>`
    select level.location, level.on_hand as "onHand", level.reserved - coalesce(overdue.quantity, 0)::bigint as reserved
    from stock_levels as level
    join products as product on product.id = level.product_id and product.deleted_at is null
    join locations as location on location.code = level.location
    left join (
      select location, sum(quantity) as quantity from reservation_lines
      where product_id = ${productId} and held_until <= now() group by location
    ) as overdue on overdue.location = level.location
    where level.product_id = ${productId}
    order by location.priority, location.code`
}
