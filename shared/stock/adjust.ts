import type * as z from 'zod'
import type { Caller } from '#database'
import { ServiceError } from '#errors'
import { bookTransaction } from './book-transaction.ts'
import { requireLocations } from './locations.ts'
import type { AdjustRequest, Movement } from './schema.ts'

/**
 * Changes what is on hand at one location (`main` unless told) by a signed quantity.
 * Throws `product_not_found`, `location_not_found`, or `insufficient_stock` where less is free than is taken away.
 */
export function adjustStock(
  productId: string,
  request: z.infer<typeof AdjustRequest>,
  caller: Caller,
): Promise<Movement> {
  const { quantity, reason, location = 'main', reference, note } = request
  return bookTransaction(caller, async (tx, open) => {
    await requireLocations(tx, [location])
    const book = await open([productId])
    const { sku, levels } = book.product(productId)
    const level = levels.find((candidate) => candidate.location === location)
    const available = level ? level.onHand - level.reserved : 0
    if (available + quantity < 0) {
      throw new ServiceError('insufficient_stock', `Only ${available} of ${sku} are free at ${location}.`, {
        extra: { shortages: [{ productId, sku, requested: -quantity, available }] },
      })
    }
    const movement = book.change(caller, {
      productId,
      location,
      type: 'adjustment',
      onHandDelta: quantity,
      reservedDelta: 0,
      reason,
      reference: reference ?? undefined,
      note: note ?? undefined,
    })
    await book.save()
    return movement
  })
}
