import type * as z from 'zod'
import type { RequestContext } from '#database'
import { ServiceError } from '#errors'
import { requireLocations } from './locations.ts'
import type { AdjustRequest, Movement } from './schema.ts'
import { stockTransaction } from './stock-transaction.ts'

/**
 * Changes what is on hand at one location (default `main`) by a signed quantity.
 * Throws `product_not_found`, `location_not_found`, or `insufficient_stock` if less is available than is taken away.
 */
export function adjustStock(
  productId: string,
  request: z.infer<typeof AdjustRequest>,
  context: RequestContext,
): Promise<Movement> {
  const { quantity, reason, location = 'main', reference, note } = request
  return stockTransaction(context, async (tx, lock) => {
    await requireLocations(tx, [location])
    const stock = await lock([productId])
    const { sku, levels } = stock.product(productId)
    const level = levels.find((candidate) => candidate.location === location)
    const available = level ? level.onHand - level.reserved : 0
    if (available + quantity < 0) {
      throw new ServiceError('insufficient_stock', `Only ${available} of ${sku} are free at ${location}.`, {
        extra: { shortages: [{ productId, sku, requested: -quantity, available }] },
      })
    }
    const movement = stock.change(context, {
      productId,
      location,
      type: 'adjustment',
      onHandDelta: quantity,
      reservedDelta: 0,
      reason,
      reference: reference ?? undefined,
      note: note ?? undefined,
    })
    await stock.save()
    return movement
  })
}
