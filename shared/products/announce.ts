import type { RequestContext } from '#database'
import type { LockedStock } from '#stock'
import { withoutStock } from './product-fields.ts'
import type { ProductRow } from './product-rows.ts'

/** Adds the event of a new product, and receives its initial stock at `main`. */
export function announceCreated(
  stock: LockedStock,
  context: RequestContext,
  row: ProductRow,
  initialStock: number,
): void {
  const productId = row.id
  stock.announce(context, 'product.created', productId, { productId, product: withoutStock(row) })
  if (initialStock === 0) return
  const change = { productId, location: 'main', type: 'adjustment', reservedDelta: 0, reason: 'received' } as const
  stock.change(context, { ...change, onHandDelta: initialStock })
}

export function announceUpdated(stock: LockedStock, context: RequestContext, row: ProductRow): void {
  stock.announce(context, 'product.updated', row.id, { productId: row.id, product: withoutStock(row) })
}
