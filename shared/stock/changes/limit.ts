import type * as z from 'zod'
import { type RequestContext, transaction } from '#database'
import { lockStock } from '../balances/lock-stock.ts'
import type { ProductLimits, SetLimitRequest } from '../schema.ts'

/**
 * Sets how much of a product may be held, under the product's lock: no reservation made after the answer exceeds the limits. A limit that the
 * request does not name stays unchanged, and so do existing holds. Throws `product_not_found`.
 */
export function setLimit(
  productId: string,
  { perReservation, perHolder }: z.infer<typeof SetLimitRequest>,
  context: RequestContext,
): Promise<ProductLimits> {
  return transaction(context, async (tx) => {
    const stock = await lockStock(tx, context, [productId])
    stock.product(productId)
    const [limits] = await tx<[ProductLimits]>`
      update products
      set limit_per_reservation = ${perReservation === undefined ? tx`limit_per_reservation` : perReservation},
          limit_per_holder = ${perHolder === undefined ? tx`limit_per_holder` : perHolder}
      where id = ${productId}
      returning limit_per_reservation as "perReservation", limit_per_holder as "perHolder"`
    // Locking the stock may have ended overdue holds.
    await stock.save()
    return limits
  })
}
