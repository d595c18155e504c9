import { cached } from '#cache'
import { type RequestContext, read, type Sql } from '#database'
import { invalid, notFound } from '#errors'
import { cacheGroup } from '../balances/cache-group.ts'
import type { ProductStock } from '../schema.ts'

/** Throws `product_not_found` unless the product exists, or existed before it was deleted: its ledger is kept. */
export async function requireKnownProduct(productId: string, context: RequestContext): Promise<void> {
  const find = async (sql: Sql) => (await sql`select 1 from products where id = ${productId}`).length > 0
  if (!(await read(context, find, (found) => !found))) throw notFound('product', productId)
}

interface BalanceRow {
  location: string
  onHand: number
  reserved: number
}

/** A product's stock, in total and at each location. Stock that an overdue hold still reserves counts as available. */
export async function getStock(productId: string, context: RequestContext): Promise<ProductStock> {
  const rows = await cached(stockCache(productId), context, async (sql) => {
    const found = await balances(sql, productId)
    return found.length === 0 ? null : [...found]
  })
  if (rows === null) throw notFound('product', productId)
  return toStock(productId, rows)
}

/**
 * A product's stock after its last movement until `at`, an RFC 3339 time. An overdue hold counts as reserved until its `expired` movement. Throws
 * `product_not_found`, or `validation_failed` for a time in the future.
 */
export async function getStockAt(productId: string, at: string, context: RequestContext): Promise<ProductStock> {
  const rows = await read(
    context,
    (sql) => balancesAt(sql, productId, dateOf(at)),
    // The replica's clock may be behind the clock that the ledger's times come from.
    (found) => found.length === 0 || found.some(({ isFuture }) => isFuture),
  )
  if (rows.length === 0) throw notFound('product', productId)
  if (rows.some(({ isFuture }) => isFuture)) throw invalid('at', 'is in the future')
  const balances = rows.map(({ location, onHand, reserved }) => ({ location, onHand, reserved }))
  return { ...toStock(productId, balances), at }
}

/** PostgreSQL reads only years of four digits from 1 on. The ledger has no times before 1970 or after 9999. */
const dateOf = (at: string) => new Date(Math.min(Math.max(Date.parse(at), 0), Date.UTC(9999, 0)))

function toStock(productId: string, rows: readonly BalanceRow[]): ProductStock {
  const locations = rows.map((row) => ({ ...row, available: row.onHand - row.reserved }))
  const onHand = locations.reduce((sum, row) => sum + row.onHand, 0)
  const reserved = locations.reduce((sum, row) => sum + row.reserved, 0)
  return { productId, onHand, reserved, available: onHand - reserved, locations }
}

/** A hold that becomes overdue changes the stock without a write, so nothing is invalidated. Therefore entries live for a short time. */
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

/**
 * After the last movement by time, this many movements are searched for one that is later in the ledger but has an earlier time. A clock may step
 * back, and a transaction reads the clock before it locks the further products whose overdue holds it ends.
 */
const REORDERED_MAX = 1_000

/** The balances after the last movement until `at`, in the order of the ledger; zeros before the first movement. */
function balancesAt(sql: Sql, productId: string, at: Date) {
  return sql<Array<BalanceRow & { isFuture: boolean }>>`
    select level.location, coalesce(last.on_hand_after, 0) as "onHand", coalesce(last.reserved_after, 0) as reserved,
           ${at}::timestamptz > now() as "isFuture"
    from stock_levels as level
    join products as product on product.id = level.product_id and product.deleted_at is null
    join locations as location on location.code = level.location
    left join lateral (
      select sequence from stock_movements
      where product_id = ${productId} and location = level.location and occurred_at <= ${at}
      order by occurred_at desc, sequence desc limit 1
    ) as latest on true
    left join lateral (
      select on_hand_after, reserved_after from (
        select sequence, location, occurred_at, on_hand_after, reserved_after from stock_movements
        where product_id = ${productId} and sequence >= latest.sequence order by sequence limit ${REORDERED_MAX}
      ) as movement
      where movement.location = level.location and movement.occurred_at <= ${at} order by sequence desc limit 1
    ) as last on true
    where level.product_id = ${productId}
    order by location.priority, location.code`
}
