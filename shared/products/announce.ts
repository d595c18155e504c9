import type { Caller } from '#database'
import type { LockedStock } from '#stock'
import { withoutStock } from './product-fields.ts'
import type { ProductRow } from './product-rows.ts'

/** Announces a product that was added, and receives its initial stock at `main`. */
export function announceCreated(stock: LockedStock, caller: Caller, row: ProductRow, initialStock: number): void {
  const productId = row.id
  stock.announce(caller, 'product.created', productId, { productId, product: withoutStock(row) })
  if (initialStock === 0) return
  const change = { productId, location: 'main', type: 'adjustment', reservedDelta: 0, reason: 'received' } as const
  stock.change(caller, { ...change, onHandDelta: initialStock })
}

export function announceUpdated(stock: LockedStock, caller: Caller, row: ProductRow): void {
  stock.announce(caller, 'product.updated', row.id, { productId: row.id, product: withoutStock(row) })
}
