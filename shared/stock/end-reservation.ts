import type * as z from 'zod'
import { pipeline, type RequestContext, type Sql, transaction } from '#database'
import { invalid, notFound, ServiceError } from '#errors'
import { endOfHold } from './change.ts'
import { lockStock } from './lock-stock.ts'
import type { LockedStock } from './locked-stock.ts'
import { mayTouch } from './ownership.ts'
import {
  findReservations,
  type LineRow,
  linesOf,
  lockReservations,
  type ReservationRow,
  setState,
  toReservation,
} from './reservation-rows.ts'
import type { ConfirmRequest, ExtendRequest, Reservation, ReservationState } from './schema.ts'
import { holdLifeMaxSeconds } from './settings.ts'

interface Held {
  row: ReservationRow
  lines: LineRow[]
  stock: LockedStock
}

/**
 * Takes the held goods out of stock; with `lines`, only the named quantity of each product, and the rest is released.
 * A confirmed reservation is returned as it is. Throws `reservation_not_found`, `not_held`, `reservation_expired`, or
 * `validation_failed` for more than is held.
 */
export function confirm(
  id: string,
  request: z.infer<typeof ConfirmRequest>,
  context: RequestContext,
): Promise<Reservation> {
  return endReservation(id, 'confirmed', context, async (tx, { row, lines, stock }) => {
    const confirmed = share(lines, request.lines)
    for (const { confirmedQuantity, ...line } of confirmed) {
      const { productId, location } = line
      const deltas = { onHandDelta: -confirmedQuantity, reservedDelta: -confirmedQuantity }
      const change = { type: 'confirmed', reservationId: id, productId, location, ...deltas } as const
      if (confirmedQuantity > 0) stock.change(context, { ...change, reference: row.reference ?? undefined })
      const rest = line.quantity - confirmedQuantity
      if (rest > 0) stock.change(context, endOfHold('released', { ...line, quantity: rest }, row.reference))
    }
    await tx`
      update reservation_lines as line set confirmed_quantity = confirmed.quantity
      from unnest(${confirmed.map((line) => line.confirmedQuantity)}::int[]) with ordinality as confirmed (quantity, line)
      where line.reservation_id = ${id} and line.line = confirmed.line`
    return confirmed
  })
}

/** Gives the held goods back. A released reservation is returned as it is. Throws `reservation_not_found`, `not_held`. */
export function release(id: string, context: RequestContext): Promise<Reservation> {
  return endReservation(id, 'released', context, async (_, { row, lines, stock }) => {
    for (const line of lines) stock.change(context, endOfHold('released', line, row.reference))
    return lines
  })
}

/**
 * Makes the hold end `ttlSeconds` from now. Throws `reservation_not_found`, `not_held`, or `hold_limit_reached` if a hold
 * may not last that long from its creation.
 */
export function extend(
  id: string,
  { ttlSeconds }: z.infer<typeof ExtendRequest>,
  context: RequestContext,
): Promise<Reservation> {
  return transaction(context, async (tx) => {
    const [row] = await lockReservations(tx, [id])
    if (!row || !mayTouch(context, row)) throw notFound('reservation', id)
    if (row.state !== 'held' || row.isOverdue) throw notHeld(row)
    const lifeMax = holdLifeMaxSeconds()
    const [[extended], , lines] = await pipeline([
      tx<Array<{ expiresAt: Date; updatedAt: Date }>>`
        update reservations set expires_at = moment + ${ttlSeconds}::int * interval '1 second', updated_at = moment
        from clock_timestamp() as moment
        where id = ${id} and moment + ${ttlSeconds}::int * interval '1 second' <= created_at + ${lifeMax}::int * interval '1 second'
        returning expires_at as "expiresAt", updated_at as "updatedAt"`,
      tx`
        update reservation_lines set held_until = (select expires_at from reservations where id = ${id})
        where reservation_id = ${id}`,
      linesOf(tx, [id]),
    ])
    if (!extended) {
      const end = new Date(row.createdAt.getTime() + lifeMax * 1_000).toISOString()
      throw new ServiceError(
        'hold_limit_reached',
        `No hold lasts longer than ${lifeMax} s: this one ends at ${end} at the latest.`,
      )
    }
    return toReservation({ ...row, ...extended }, lines)
  })
}

/** Locks the products, locks the reservation, checks its state, records the changes, and saves. */
function endReservation(
  id: string,
  state: Extract<ReservationState, 'confirmed' | 'released'>,
  context: RequestContext,
  record: (tx: Sql, held: Held) => Promise<LineRow[]>,
): Promise<Reservation> {
  return transaction(context, async (tx) => {
    const lines = await linesOf(tx, [id])
    if (lines.length === 0) throw notFound('reservation', id)
    const stock = await lockStock(
      tx,
      context,
      lines.map((line) => line.productId),
    )
    const [row] = await lockReservations(tx, [id])
    if (!row || !mayTouch(context, row)) throw notFound('reservation', id)
    if (row.state === state) return toReservation(row, await linesOf(tx, [id]))
    if (row.state !== 'held' || row.isOverdue) throw notHeld(row, state)
    const settled = await record(tx, { row, lines, stock })
    await pipeline([stock.save(), setState(tx, [id], state)])
    const [ended] = await findReservations(tx, [id])
    return toReservation(ended ?? row, settled)
  })
}

/** How much of each line is confirmed: all of it, or its part of the quantity asked for its product, in the order of the lines. */
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
