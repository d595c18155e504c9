import { primary, type RequestContext, transaction } from '#database'
import { type LockedStock, lockStock } from '#stock'
import { withoutStock } from './product-fields.ts'
import { findProducts, type ProductRow } from './product-rows.ts'

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

/** Products that are locked at once: some 50 ms. */
const BATCH_MAX = 200

/**
 * Publishes each product in its current state, as `product.updated`, for readers whose copies differ. A repeat publishes them again. Before that,
 * `leap` raises the versions of the product's events and of the product itself. Reports its progress, and returns the number of products.
 */
export async function announceProducts(
  context: RequestContext,
  onProgress: (done: number) => void,
  leap = { stock: 0, product: 0 },
): Promise<number> {
  let done = 0
  let last: string | undefined
  for (;;) {
    const sql = primary()
    const rows = await sql<Array<{ id: string }>>`
      select id from products where deleted_at is null ${last === undefined ? sql`` : sql`and id > ${last}`}
      order by id limit ${BATCH_MAX}`
    const ids = rows.map(({ id }) => id)
    last = ids.at(-1)
    if (last === undefined) return done
    await transaction(context, async (tx) => {
      const stock = await lockStock(tx, context, ids)
      if (leap.product > 0)
        await tx`update products set version = version + ${leap.product}::int where id = any(${ids}::uuid[])`
      for (const product of await findProducts(tx, ids)) {
        stock.product(product.id).version += leap.stock
        announceUpdated(stock, context, product)
      }
      await stock.save()
    })
    done += ids.length
    onProgress(done)
  }
}
