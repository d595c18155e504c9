import type * as z from 'zod'
import type { RequestContext } from '#database'
import { invalid, ServiceError } from '#errors'
import { endOfHold } from '../balances/change.ts'
import { changeStock } from '../groups/change-stock.ts'
import type { StockGroup } from '../groups/stock-group.ts'
import type { LineRow, LockedReservation, ReservationRow } from '../reservations/reservation-rows.ts'
import { toReservation } from '../reservations/reservation-rows.ts'
import type { ConfirmRequest, ExtendRequest, Reservation, ReservationState } from '../schema.ts'
import { holdLifeMaxSeconds } from '../settings.ts'

/**
 * Takes the held goods out of stock. With `lines`, it takes only the named quantity of each product and releases the rest. Returns a reservation
 * that is already confirmed unchanged. Throws `reservation_not_found`, `not_held`, `reservation_expired`, or `validation_failed` for more than is
 * held.
 */
export function confirm(
  id: string,
  request: z.infer<typeof ConfirmRequest>,
  context: RequestContext,
): Promise<Reservation> {
  return changeReservation(id, context, (group, reservation, by) => {
    const { row, lines } = reservation
    if (row.state === 'confirmed') return toReservation(row, lines)
    requireHeld(group, reservation, 'confirmed')
    reservation.lines = share(lines, request.lines)
    for (const { confirmedQuantity, ...line } of reservation.lines) {
      const { productId, location, quantity } = line
      const deltas = { onHandDelta: -confirmedQuantity, reservedDelta: -confirmedQuantity }
      const change = { type: 'confirmed', reservationId: id, productId, location, ...deltas } as const
      if (confirmedQuantity > 0) group.stock.change(by, { ...change, reference: row.reference ?? undefined })
      const rest = quantity - confirmedQuantity
      if (rest > 0) group.stock.change(by, endOfHold('released', { ...line, quantity: rest }, row.reference))
    }
    return group.change(reservation, { state: 'confirmed' })
  })
}

/** Gives the held goods back. Returns a reservation that is already released unchanged. Throws `reservation_not_found`, `not_held`. */
export function release(id: string, context: RequestContext): Promise<Reservation> {
  return changeReservation(id, context, (group, reservation, by) => {
    const { row, lines } = reservation
    if (row.state === 'released') return toReservation(row, lines)
    requireHeld(group, reservation, 'released')
    for (const line of lines) group.stock.change(by, endOfHold('released', line, row.reference))
    return group.change(reservation, { state: 'released' })
  })
}

/**
 * Makes the hold end `ttlSeconds` from now. Throws `reservation_not_found`, `not_held`, or `hold_limit_reached` if the hold would then last longer
 * from its creation than is allowed.
 */
export function extend(
  id: string,
  { ttlSeconds }: z.infer<typeof ExtendRequest>,
  context: RequestContext,
): Promise<Reservation> {
  return changeReservation(id, context, (group, reservation) => {
    requireHeld(group, reservation)
    const lifeMax = holdLifeMaxSeconds()
    const end = reservation.row.createdAt.getTime() + lifeMax * 1_000
    const expiresAt = new Date(group.now.getTime() + ttlSeconds * 1_000)
    if (expiresAt.getTime() > end) {
      const detail = `No hold lasts longer than ${lifeMax} s: this one ends at ${new Date(end).toISOString()} at the latest.`
      throw new ServiceError('hold_limit_reached', detail)
    }
    return group.change(reservation, { expiresAt })
  })
}

function changeReservation(
  id: string,
  context: RequestContext,
  decide: (group: StockGroup, reservation: LockedReservation, by: RequestContext) => Reservation,
): Promise<Reservation> {
  return changeStock(
    {
      refersTo: { reservationId: id },
      decide: (group, by) => ({ result: decide(group, group.reservation(id, by), by) }),
    },
    context,
  )
}

/** Throws `not_held`, or `reservation_expired` for an expired hold that was to be confirmed; `product_not_found` if a product is gone. */
function requireHeld({ stock }: StockGroup, { row, lines }: LockedReservation, wanted?: ReservationState): void {
  if (row.state !== 'held' || row.isOverdue) throw notHeld(row, wanted)
  for (const { productId } of lines) stock.product(productId)
}

/** Sets how much of each line is confirmed: all of it, or its share of the quantity asked for its product. Lines are served in order. */
function share(lines: LineRow[], asked: z.infer<typeof ConfirmRequest>['lines']): LineRow[] {
  if (!asked) return lines.map((line) => ({ ...line, confirmedQuantity: line.quantity }))
  const left = new Map<string, number>()
  for (const { productId, quantity } of asked) left.set(productId, quantity + (left.get(productId) ?? 0))
  const shared = lines.map((line) => {
    const confirmedQuantity = Math.min(line.quantity, left.get(line.productId) ?? 0)
    left.set(line.productId, (left.get(line.productId) ?? 0) - confirmedQuantity)
    return { ...line, confirmedQuantity }
  })
  asked.forEach(({ productId }, index) => {
    if (!lines.some((line) => line.productId === productId))
      throw invalid(`lines.${index}.productId`, 'is not in this reservation')
    if (left.get(productId)) throw invalid(`lines.${index}.quantity`, 'is more than is held')
  })
  return shared
}

function notHeld({ state, isOverdue, expiresAt }: ReservationRow, wanted?: ReservationState): ServiceError {
  if (state === 'expired' || (state === 'held' && isOverdue)) {
    const code = wanted === 'confirmed' ? 'reservation_expired' : 'not_held'
    return new ServiceError(code, `The hold ended at ${expiresAt.toISOString()}.`)
  }
  return new ServiceError('not_held', `The reservation is ${state}, no longer held.`)
}
