import type * as z from 'zod'
import type { Decision, RequestContext } from '#database'
import { ServiceError } from '#errors'
import { newId } from '#ids'
import { endOfHold } from '../balances/change.ts'
import { changeStock } from '../groups/change-stock.ts'
import type { StockGroup } from '../groups/stock-group.ts'
import { type AllocatedLine, allocate, type Shortage, sumDemands } from '../reservations/allocation.ts'
import { refusalByTerms, sumHeld } from '../reservations/holding-terms.ts'
import { countLine } from '../reservations/hot-products.ts'
import type { Reservation, ReserveRequest } from '../schema.ts'
import { holdLifeMaxSeconds } from '../settings.ts'

type Request = z.infer<typeof ReserveRequest>

/**
 * Holds stock for every line, or for none. A held reservation with the same holder and reference is replaced: the stock that it holds counts as
 * free. Throws, in this order, `product_not_found`, `location_not_found`, `product_archived`, `validation_failed` if a product needs a holder,
 * `limit_exceeded` with every exceeded limit, `insufficient_stock` with every short line.
 */
export function reserve(request: Request, context: RequestContext): Promise<Reservation> {
  return changeStock({ refersTo: request, decide: (group, by) => place(group, request, by) }, context)
}

function place(group: StockGroup, request: Request, context: RequestContext): Decision<Reservation> {
  const { stock } = group
  const productIds = request.lines.map(group.productIdOf)
  for (const { location } of request.lines) group.requireLocation(location)
  for (const productId of productIds) if (stock.has(productId)) countLine(stock.product(productId).sku)
  const replaced = group.replacedBy(request)
  const refusal = refusalByTerms(stock, request, productIds, (productId) =>
    sumHeld(group.heldLines(), request.holder, productId, context, replaced),
  )
  if (refusal) return { error: refusal }
  const freed = replaced.flatMap((hold) => hold.lines)
  const { lines, shortages } = allocate(stock, sumDemands(request.lines, productIds), freed)
  if (shortages.length > 0) {
    // Returned, not thrown: for a sold-out product this is the usual answer, and a throw costs as much as the rest of this function.
    return { error: insufficientStock(shortages) }
  }

  for (const old of replaced) {
    for (const line of old.lines) stock.change(context, endOfHold('released', line, request.reference))
    group.change(old, { state: 'released' })
  }
  const reservation = newReservation(request, lines, group.now)
  for (const { productId, location, quantity } of lines) {
    const change = { productId, location, type: 'reserved', onHandDelta: 0, reservedDelta: quantity } as const
    stock.change(context, { ...change, reservationId: reservation.id, reference: request.reference ?? undefined })
  }
  group.add({ reservation, madeBy: context.actor })
  return { result: reservation }
}

function insufficientStock(shortages: Shortage[]): ServiceError {
  const detail = 'There is not enough stock; nothing was held.'
  return new ServiceError('insufficient_stock', detail, { extra: { shortages } })
}

function newReservation(request: Request, lines: AllocatedLine[], now: Date): Reservation {
  const { reference = null, holder = null } = request
  const ttlSeconds = Math.min(request.ttlSeconds, holdLifeMaxSeconds())
  const createdAt = now.toISOString()
  return {
    id: newId(),
    state: 'held',
    lines: lines.map((line) => ({ ...line, confirmedQuantity: 0 })),
    reference,
    holder,
    expiresAt: new Date(now.getTime() + ttlSeconds * 1_000).toISOString(),
    createdAt,
    updatedAt: createdAt,
  }
}
