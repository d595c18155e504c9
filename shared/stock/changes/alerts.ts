import { type RequestContext, type Sql, transaction } from '#database'
import { ServiceError } from '#errors'
import { oncePerEvent } from '#events'
import { lockStock } from '../balances/lock-stock.ts'
import type { ProductChange, StockAlert } from '../events.ts'

/** A product's state after its last alert: `low` and `out` last until a `stock.back` ends them. */
type AlertState = 'none' | 'low' | 'out'
type AlertType = 'stock.low' | 'stock.out' | 'stock.back'

/** A change as received in an event. */
export interface SeenChange {
  change: ProductChange
  eventId: string
  context: RequestContext
}

type Result = PromiseSettledResult<AlertType | undefined>

/** Edges, that is changes of a product's state, that are handled at once, each in its own transaction: the process has ten connections. */
const EDGES_AT_ONCE = 4

/**
 * Derives `stock.low`, `stock.out` or `stock.back` from changes of products or of their stock, on behalf of `consumer`: once, however often a
 * change is delivered. The changes of one product must be in order, and each is handled before the next. Returns, for each change, its alert if
 * there is one, or the reason to deliver it again. Throws if all of them have to be delivered again.
 *
 * After a change, a product is `out` (nothing is available), `low` (no more than its threshold is available; never without a threshold) or neither,
 * which is its first state. An alert is a transition between these states, so the same alert comes twice in a row only
 * where the second transition below allows it, or where a lowered threshold ended a low state without an alert:
 *
 *   to `out`, from any state:    stock.out
 *   to `low`, from neither:      stock.low
 *   to `low`, from `out`:        stock.back; the product is still low, and the next rise above the threshold is another stock.back
 *   to neither, from `out`:      stock.back
 *   to neither, from `low`:      stock.back, if more is available than the threshold that made the product low; lowering the threshold
 *                                below the available quantity gives no stock.back
 *
 * Only the state after a transaction counts, since nobody could see a state between two of its changes. A product that never had stock is not out.
 * A change older than one seen before is ignored. The current threshold applies: a new threshold counts at once, since setting it is also a change
 * that is evaluated.
 */
export async function detectAlerts(changes: readonly SeenChange[], consumer: string): Promise<Result[]> {
  const results = new Map<SeenChange, Result>()
  let left = changes.filter(({ change }) => !change.intermediate)
  while (left.length > 0) {
    const passed = await passWithoutEdge(left)
    const unseen = left.filter((seen) => {
      const { productId } = seen.change
      const count = passed.get(productId) ?? 0
      passed.set(productId, count - 1)
      return count <= 0
    })
    const edges = [...new Map([...unseen].reverse().map((seen) => [seen.change.productId, seen])).values()]
    for (let at = 0; at < edges.length; at += EDGES_AT_ONCE) {
      const some = edges.slice(at, at + EDGES_AT_ONCE)
      const taken = await Promise.allSettled(some.map((seen) => takeEdgeOnce(seen, consumer)))
      for (const [index, result] of taken.entries()) results.set(some[index] as SeenChange, result)
    }
    const failed = new Set(edges.filter((edge) => results.get(edge)?.status === 'rejected').map(productOf))
    left = unseen.filter((seen) => !results.has(seen))
    for (const seen of left) if (failed.has(productOf(seen))) results.set(seen, BEHIND)
    left = left.filter((seen) => !results.has(seen))
  }
  return changes.map((seen) => results.get(seen) ?? { status: 'fulfilled', value: undefined })
}

const productOf = ({ change }: SeenChange) => change.productId

/** The result of a change that follows another change of the same product which has to be delivered again. */
const BEHIND: Result = {
  status: 'rejected',
  reason: new ServiceError('busy', 'An earlier change of the product has not been seen yet.'),
}

/**
 * Handles each product's changes up to the first one that alters the product's state. Nearly all changes alter no state: this one statement is
 * enough for them, and no product is locked. Returns the number of handled changes by product.
 */
async function passWithoutEdge(changes: readonly SeenChange[]): Promise<Map<string, number>> {
  const [first] = changes
  if (!first) return new Map()
  const rows = changes.map(({ change }) => change)
  return transaction(first.context, async (tx) => {
    const passed = await tx<Array<{ productId: string; count: number }>>`
      with change as (
        select product.id as product_id, change.version, product.low_stock_threshold as threshold, coalesce(alert.version, 0) as seen,
               coalesce(alert.state, 'none') as last, ${stateWith(tx, tx`change.available`)} as next, change.line,
               alert.product_id is null or alert.threshold is distinct from product.low_stock_threshold as is_news,
               max(change.version) over (partition by product.id order by change.line) as newest
        from unnest(
          ${rows.map(({ productId }) => productId)}::uuid[], ${rows.map(({ version }) => version)}::bigint[],
          ${rows.map(({ stock }) => stock.available)}::bigint[]
        ) with ordinality as change (product_id, version, available, line)
        join products as product on product.id = change.product_id
        left join stock_alerts as alert on alert.product_id = product.id
        -- The first change that is seen of a deleted product is left to who locks that.
        where alert.product_id is not null or product.deleted_at is null
      ), evaluated as (
        select *, bool_and(next = last or version < newest or version <= seen) over (partition by product_id order by line) as passes
        from change
      ), passed as (
        select product_id, last, threshold, seen, is_news, max(version) as version, count(*) as count
        from evaluated where passes group by product_id, last, threshold, seen, is_news
      ), saved as (
        insert into stock_alerts as alert (product_id, state, threshold, version)
        select product_id, last, threshold, version from passed where version > seen order by product_id
        on conflict (product_id) do update set version = excluded.version, threshold = excluded.threshold
        where alert.version < excluded.version and alert.state = excluded.state
        returning product_id
      )
      select product_id as "productId", count, (
        -- Without waiting for the disk this takes a fifth of the time. All that a crash loses then is which change was the last one seen,
        -- and a change that is told of again is seen to change nothing. A new product or threshold waits for the disk.
        select set_config('synchronous_commit', 'off', true) where not exists (select from passed where is_news)
      ) as "commit"
      from passed where version <= seen or product_id in (select product_id from saved)`
    return new Map(passed.map(({ productId, count }) => [productId, count]))
  })
}

/** The sum over a product's locations can exceed 32 bits. */
function stateWith(sql: Sql, available: ReturnType<Sql>) {
  return sql`case when ${available} <= 0 then 'out' when ${available} <= product.low_stock_threshold then 'low' else 'none' end`
}

function takeEdgeOnce({ change, eventId, context }: SeenChange, consumer: string): Promise<AlertType | undefined> {
  return transaction(context, async (tx) => {
    if (!(await oncePerEvent(tx, consumer, eventId))) return undefined
    return takeEdge(tx, change, eventId, context)
  })
}

interface AlertTransition {
  lowStockThreshold: number | null
  last: AlertState | null
  lastThreshold: number | null
  next: AlertState
}

/** An alert takes the product's next version, so it is made under the product's lock, like all of the product's events. */
async function takeEdge(
  tx: Sql,
  { productId, version, stock, onHandDelta, reservedDelta }: ProductChange,
  eventId: string,
  context: RequestContext,
): Promise<AlertType | undefined> {
  const lockedStock = await lockStock(tx, context, [productId])
  const [product] = await tx<AlertTransition[]>`
    select product.low_stock_threshold as "lowStockThreshold", alert.state as last, alert.threshold as "lastThreshold",
           ${stateWith(tx, tx`${stock.available}::bigint`)} as next
    from products as product left join stock_alerts as alert on alert.product_id = product.id
    where product.id = ${productId} and product.deleted_at is null`
  // A product that was already out before its first change that is seen gives no alert.
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
  // Saved even without an alert: locking the stock may have ended overdue holds.
  await lockedStock.save()
  return alert || undefined
}

/** Saves the product's state. Returns false if a later change has been seen already. */
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
