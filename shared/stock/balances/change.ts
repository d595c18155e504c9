import type { RequestContext } from '#database'
import { invalid } from '#errors'
import type { NewEvent } from '#events'
import { newId } from '#ids'
import type { LineRow } from '../reservations/reservation-rows.ts'
import { type movementTypes, ON_HAND_MAX, type StockTotals } from '../schema.ts'
import type { LockedProduct } from './levels.ts'
import type { NewMovement } from './movements.ts'

export interface Change {
  productId: string
  location: string
  type: (typeof movementTypes)[number]
  onHandDelta: number
  reservedDelta: number
  reason?: string | undefined
  reference?: string | undefined
  note?: string | undefined
  reservationId?: string | undefined
}

/** The quantity that a line of a reservation holds. */
type HeldPieces = Pick<LineRow, 'reservationId' | 'productId' | 'location' | 'quantity'>

/** The change that ends a hold, or a part of it, without changing the quantity on hand. */
export function endOfHold(
  type: 'released' | 'expired',
  { reservationId, productId, location, quantity }: HeldPieces,
  reference?: string | null,
): Change {
  const deltas = { onHandDelta: 0, reservedDelta: -quantity }
  return { type, reservationId, productId, location, ...deltas, reference: reference ?? undefined }
}

const eventTypeOf = {
  adjustment: 'stock.adjusted',
  reserved: 'stock.reserved',
  released: 'stock.released',
  expired: 'stock.expired',
  confirmed: 'stock.confirmed',
  count: 'stock.counted',
} as const

/** The totals of a product over all its locations. */
export function totalsOf({ levels }: LockedProduct): StockTotals {
  const onHand = levels.reduce((sum, level) => sum + level.onHand, 0)
  const reserved = levels.reduce((sum, level) => sum + level.reserved, 0)
  return { onHand, reserved, available: onHand - reserved }
}

/** Applies a change to a product's balance. Throws `validation_failed` if it would leave more than a location can hold. */
export function apply(
  product: LockedProduct,
  context: RequestContext,
  change: Change,
  occurredAt: string,
): NewMovement {
  let level = product.levels.find(({ location }) => location === change.location)
  if (!level) {
    level = { location: change.location, onHand: 0, reserved: 0, isNew: true, isTouched: false }
    product.levels.push(level)
  }
  if (level.onHand + change.onHandDelta > ON_HAND_MAX) {
    throw invalid('quantity', `would leave more than ${ON_HAND_MAX} on hand at ${change.location}`)
  }
  level.onHand += change.onHandDelta
  level.reserved += change.reservedDelta
  level.isTouched = true
  return {
    id: newId(),
    productId: change.productId,
    location: change.location,
    type: change.type,
    onHandDelta: change.onHandDelta,
    reservedDelta: change.reservedDelta,
    onHandAfter: level.onHand,
    reservedAfter: level.reserved,
    reason: change.reason ?? null,
    reference: change.reference ?? null,
    note: change.note ?? null,
    reservationId: change.reservationId ?? null,
    actor: context.actor,
    occurredAt,
  }
}

/** The event of a change, with the product's next version. */
export function toEvent(product: LockedProduct, movement: NewMovement, context: RequestContext): NewEvent {
  const { productId, location, onHandDelta, reservedDelta, reservationId, reason, reference } = movement
  const version = ++product.version
  const stock = totalsOf(product)
  return {
    type: eventTypeOf[movement.type],
    productId,
    version,
    data: { productId, version, location, onHandDelta, reservedDelta, stock, reservationId, reason, reference },
    trace: context.trace,
  }
}
