import { pipeline, type RequestContext, type Sql, transaction } from '#database'
import { oncePerEvent } from '#events'
import type { ProductChange, StockAlert } from './events.ts'
import { lockStock } from './lock-stock.ts'

/** The state that a product's last alert left it in: `low` and `out` last until a `stock.back` ends them. */
type AlertState = 'none' | 'low' | 'out'
type AlertType = 'stock.low' | 'stock.out' | 'stock.back'

/**
 * Derives `stock.low`, `stock.out` or `stock.back` from a change of a product or of its stock, on behalf of `consumer`: once,
 * however often the change is delivered. Gives the alert, if there is one.
 *
 * By what a change leaves available, a product is `out` (nothing), `low` (no more than its threshold; never without one) or
 * neither, which is the first state. An alert is a transition between these, so the same alert never comes twice in a row:
 *
 *   to `out`, from wherever:     stock.out
 *   to `low`, from neither:      stock.low
 *   to `low`, from `out`:        stock.back; it is low still, and the next rise above the threshold is another stock.back
 *   to neither, from `out`:      stock.back
 *   to neither, from `low`:      stock.back, if more is available than the threshold was by which it was low; a threshold that is
 *                                lowered below what is there brings nothing back
 *
 * Only what a transaction leaves counts, since no one could see a state between two of its changes. A product that never had stock is
 * not out. A change older than one seen before is ignored. The threshold is the current one: a new threshold counts at once, since
 * setting it is a change that is evaluated, too.
 */
export async function detectAlert(
  change: ProductChange,
  eventId: string,
  consumer: string,
  context: RequestContext,
): Promise<AlertType | undefined> {
  if (change.intermediate || (await passWithoutEdge(change, context))) return undefined
  return transaction(context, async (tx) => {
    if (!(await oncePerEvent(tx, consumer, eventId))) return undefined
    return takeEdge(tx, change, eventId, context)
  })
}

/** Nearly all changes leave a product's state as it is: for those one statement is enough, and the product is not locked. */
function passWithoutEdge({ productId, version, stock }: ProductChange, context: RequestContext): Promise<boolean> {
  return transaction(context, async (tx) => {
    const [, { count }] = await pipeline([
      // Without waiting for the disk this takes a fifth of the time. A crash that loses it also loses the record that the event was seen.
      tx`set local synchronous_commit = off`,
      tx`
        update stock_alerts as alert set version = ${version}, threshold = product.low_stock_threshold
        from products as product
        where product.id = alert.product_id and alert.product_id = ${productId} and alert.version < ${version}
          and alert.state = ${stateWith(tx, stock.available)}`,
    ])
    return count === 1
  })
}

/** The sum over a product's locations can exceed 32 bits. */
function stateWith(sql: Sql, available: number) {
  return sql`case when ${available}::bigint <= 0 then 'out' when ${available}::bigint <= product.low_stock_threshold then 'low'
             else 'none' end`
}

interface AlertTransition {
  lowStockThreshold: number | null
  last: AlertState | null
  lastThreshold: number | null
  next: AlertState
}

/** The alert takes the product's next version, so it is made under the product's lock, as all of its events are. */
async function takeEdge(
  tx: Sql,
  { productId, version, stock, onHandDelta, reservedDelta }: ProductChange,
  eventId: string,
  context: RequestContext,
): Promise<AlertType | undefined> {
  const lockedStock = await lockStock(tx, context, [productId])
  const [product] = await tx<AlertTransition[]>`
    select product.low_stock_threshold as "lowStockThreshold", alert.state as last, alert.threshold as "lastThreshold",
           ${stateWith(tx, stock.available)} as next
    from products as product left join stock_alerts as alert on alert.product_id = product.id
    where product.id = ${productId} and product.deleted_at is null`
  // The first change that is seen gives no alert.
  const isOutAsEver = product?.last === null && product.next === 'out' && onHandDelta >= reservedDelta
  const isSeen = product && !isOutAsEver && (await remember(tx, productId, product, version))
  const alert = isSeen && edge(product, stock.available)
  if (alert) {
    const { sku } = lockedStock.product(productId)
    const { lowStockThreshold } = product
    const cause = { id: eventId, version, available: stock.available }
    const data: Omit<StockAlert, 'version' | 'stock'> = { productId, sku, lowStockThreshold, cause }
    lockedStock.announce(context, alert, productId, data)
  }
  // Needed also without an alert: locking the stock may have ended overdue holds.
  await lockedStock.save()
  return alert || undefined
}

/** False if a later change has been seen already. */
async function remember(
  tx: Sql,
  productId: string,
  { next, lowStockThreshold }: AlertTransition,
  version: number,
): Promise<boolean> {
  const { count } = await tx`
    insert into stock_alerts as alert (product_id, state, threshold, version)
    values (${productId}, ${next}, ${lowStockThreshold}, ${version})
    on conflict (product_id) do update
    set state = excluded.state, threshold = excluded.threshold, version = excluded.version
    where alert.version < excluded.version`
  return count === 1
}

function edge({ last, lastThreshold, next }: AlertTransition, available: number): AlertType | undefined {
  if (next === (last ?? 'none')) return undefined
  if (next === 'out') return 'stock.out'
  if (last === 'out') return 'stock.back'
  if (next === 'low') return 'stock.low'
  return lastThreshold !== null && available > lastThreshold ? 'stock.back' : undefined
}
