import type * as z from 'zod'
import { pipeline, type RequestContext, type Sql, transaction } from '#database'
import { invalid, ServiceError } from '#errors'
import { lockStock } from '../balances/lock-stock.ts'
import type { LockedStock } from '../balances/locked-stock.ts'
import { requireLocations } from '../reads/locations.ts'
import { findSkus, productIdOf } from '../reads/skus.ts'
import type { CountRequest, CountResult } from '../schema.ts'

interface Counted {
  productId: string
  location: string
  counted: number
}

/**
 * Sets balances to the counted quantities (by default at `main`) under a lock of the whole table: reads continue, changes of stock wait. Applies
 * all counts, or none. Throws `product_not_found`, `location_not_found`, `count_below_reserved`, `validation_failed` if a product and location
 * occur twice, or `busy` if it does not get the lock.
 */
export function countStock({ counts }: z.infer<typeof CountRequest>, context: RequestContext): Promise<CountResult> {
  return transaction(context, async (tx) => {
    // Changes of stock queue behind a stocktake that waits for the table, so the stocktake waits for half a second only.
    await pipeline([tx`set local lock_timeout = 500`, tx`lock table stock_levels in share row exclusive mode`])
    const counted = await resolve(tx, counts)
    requireDistinct(counted)
    await requireLocations(
      tx,
      counted.map(({ location }) => location),
    )
    const stock = await lockStock(
      tx,
      context,
      counted.map(({ productId }) => productId),
    )
    requireCovered(stock, counted)
    const results = counted.map((count) => apply(stock, context, count))
    await stock.save()
    return { counts: results }
  })
}

async function resolve(tx: Sql, counts: z.infer<typeof CountRequest>['counts']): Promise<Counted[]> {
  const idOfSku = await findSkus(tx, counts)
  return counts.map((line) => {
    const { location = 'main', counted } = line
    return { productId: productIdOf(line, idOfSku), location, counted }
  })
}

function requireDistinct(counted: Counted[]): void {
  const seen = new Set<string>()
  counted.forEach(({ productId, location }, index) => {
    const key = `${productId} ${location}`
    if (seen.has(key)) throw invalid(`counts.${index}`, `counts the same product at ${location} again`)
    seen.add(key)
  })
}

/** Held stock has been promised, so people must resolve a count below it, hold by hold. */
function requireCovered(stock: LockedStock, counted: Counted[]): void {
  const short = counted.flatMap(({ productId, location, counted: quantity }) => {
    const { sku } = stock.product(productId)
    const { reserved } = levelOf(stock, productId, location)
    return quantity < reserved ? [{ productId, sku, location, counted: quantity, reserved }] : []
  })
  if (short.length === 0) return
  const detail = 'Less was counted than reservations hold; nothing was changed.'
  throw new ServiceError('count_below_reserved', detail, { extra: { short } })
}

function apply(
  stock: LockedStock,
  context: RequestContext,
  { productId, location, counted }: Counted,
): CountResult['counts'][number] {
  const before = levelOf(stock, productId, location).onHand
  const variance = counted - before
  if (variance !== 0) {
    stock.change(context, { productId, location, type: 'count', onHandDelta: variance, reservedDelta: 0 })
  }
  return { productId, location, before, counted, variance }
}

function levelOf(stock: LockedStock, productId: string, location: string): { onHand: number; reserved: number } {
  const { levels } = stock.product(productId)
  return levels.find((level) => level.location === location) ?? { onHand: 0, reserved: 0 }
}
