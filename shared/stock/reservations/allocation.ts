import type * as z from 'zod'
import type { LockedStock } from '../balances/locked-stock.ts'
import type { ReserveRequest } from '../schema.ts'
import type { LineRow } from './reservation-rows.ts'

/** The quantity wanted of one product, at one location, or at any location that has the whole quantity. */
interface Demand {
  productId: string
  quantity: number
  location: string | undefined
}

export type AllocatedLine = Omit<LineRow, 'reservationId' | 'line' | 'confirmedQuantity'>

/** Sums the lines of one product and location to one demand. Demands with a location come first, since the others can go elsewhere. */
export function sumDemands(lines: z.infer<typeof ReserveRequest>['lines'], productIds: readonly string[]): Demand[] {
  const demands = new Map<string, Demand>()
  lines.forEach(({ quantity, location }, index) => {
    const productId = productIds[index] as string
    const key = `${productId} ${location ?? ''}`
    const demand = demands.get(key)
    demands.set(key, { productId, location, quantity: quantity + (demand?.quantity ?? 0) })
  })
  return [...demands.values()].sort((a, b) => Number(b.location !== undefined) - Number(a.location !== undefined))
}

/** A demand that can't be served, with the most that one location could give. */
export interface Shortage {
  productId: string
  sku: string
  requested: number
  available: number
}

/**
 * Chooses the location that serves each demand, counting the stock of `replaced` holds as available; or returns every demand that can't be served,
 * if there is one. Changes nothing. Throws `product_not_found`.
 */
export function allocate(
  stock: LockedStock,
  demands: readonly Demand[],
  replaced: readonly LineRow[],
): { lines: AllocatedLine[]; shortages: Shortage[] } {
  const free = new Map<string, number>()
  const add = (key: string, quantity: number) => free.set(key, quantity + (free.get(key) ?? 0))
  for (const { productId, location, quantity } of replaced) add(`${productId} ${location}`, quantity)
  const shortages: Shortage[] = []
  const lines = demands.flatMap(({ productId, quantity, location }) => {
    const { sku, levels } = stock.product(productId)
    const offers = levels
      .filter((level) => location === undefined || level.location === location)
      .map((level) => {
        const key = `${productId} ${level.location}`
        return { key, location: level.location, available: level.onHand - level.reserved + (free.get(key) ?? 0) }
      })
    const source = offers.find(({ available }) => available >= quantity)
    if (!source) {
      const available = Math.max(0, ...offers.map((offer) => offer.available))
      shortages.push({ productId, sku, requested: quantity, available })
      return []
    }
    add(source.key, -quantity)
    return [{ productId, sku, location: source.location, quantity }]
  })
  return { lines, shortages }
}
