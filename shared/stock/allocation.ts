import type * as z from 'zod'
import { ServiceError } from '#errors'
import type { Book } from './book.ts'
import type { LineRow } from './reservation-rows.ts'
import type { ReserveRequest } from './schema.ts'

/** What is wanted of one product, at one location or wherever it can be had whole. */
interface Demand {
  productId: string
  quantity: number
  location: string | undefined
}

export type AllocatedLine = Omit<LineRow, 'reservationId' | 'confirmedQuantity'>

/** Lines of one product and location are one demand. Demands with a location come first: the others can go elsewhere. */
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

/**
 * Where each demand is served from, with what `replaced` holds counting as free. Nothing is booked yet.
 * Throws `product_not_found`, or `insufficient_stock` that lists every demand that can't be served.
 */
export function allocate(book: Book, demands: readonly Demand[], replaced: readonly LineRow[]): AllocatedLine[] {
  const free = new Map<string, number>()
  const add = (key: string, quantity: number) => free.set(key, quantity + (free.get(key) ?? 0))
  for (const { productId, location, quantity } of replaced) add(`${productId} ${location}`, quantity)
  const shortages: object[] = []
  const lines = demands.flatMap(({ productId, quantity, location }) => {
    const { sku, levels } = book.product(productId)
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
  if (shortages.length > 0) {
    throw new ServiceError('insufficient_stock', 'There is not enough stock; nothing was held.', {
      extra: { shortages },
    })
  }
  return lines
}
