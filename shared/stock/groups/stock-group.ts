import { type Decision, pipeline, type RequestContext, type Sql, StaleRead } from '#database'
import { notFound } from '#errors'
import { expiredMaxOf, lockStock } from '../balances/lock-stock.ts'
import type { LockedStock } from '../balances/locked-stock.ts'
import { productIdOf } from '../reads/skus.ts'
import { findHeld, type HeldLine, isLimitedByHolder } from '../reservations/holding-terms.ts'
import { mayTouch } from '../reservations/ownership.ts'
import {
  insertHolds,
  type LockedReservation,
  linesOf,
  lockReservations,
  type NewHold,
  saveReservations,
  toReservation,
} from '../reservations/reservation-rows.ts'
import type { Reservation } from '../schema.ts'
import { holdName, type Lookups, lookUp, type References } from './lookups.ts'

/** A change of stock. It is decided while everything that it refers to is locked. */
export interface StockChange<Result> {
  refersTo: References
  /** Returns or throws a refusal before it changes anything. */
  decide: (group: StockGroup, context: RequestContext) => Decision<Result>
}

/**
 * Everything that the changes of one transaction refer to, locked and in memory. Each change sees the effects of those before it. `write` writes
 * the combined result; anything not written leaves no trace.
 */
export interface StockGroup {
  readonly stock: LockedStock
  /** The database's time when the stock was locked: the time of all changes of the group. */
  readonly now: Date
  /** Throws `product_not_found`. */
  productIdOf: (line: { productId?: string | undefined; sku?: string | undefined }) => string
  /** Throws `location_not_found`. */
  requireLocation: (code: string | undefined) => void
  /** Throws `reservation_not_found`, also for a reservation that the request may not see. */
  reservation: (id: string, context: RequestContext) => LockedReservation
  /** The holds that a new hold replaces, in their current state. */
  replacedBy: (refersTo: References) => LockedReservation[]
  /** The lines that holders hold now of products with a limit per holder. */
  heldLines: () => HeldLine[]
  /** Records changes of a reservation's row, or of its lines. */
  change: (reservation: LockedReservation, changed: Partial<LockedReservation['row']>) => Reservation
  add: (hold: NewHold) => void
}

/** Looks up and locks the rows that the changes refer to: first the products, in the order of their ids, then the reservations. */
export async function openGroup(
  tx: Sql,
  context: RequestContext,
  changes: ReadonlyArray<{ refersTo: References; context: RequestContext }>,
  attempt: number,
) {
  const lookups = await lookUp(tx, changes)
  const reservationIds = [...lookups.linesOfReservation.keys()]
  const [stock, rows] = await pipeline([
    // After a refusal while overdue holds are left, the next attempt ends more of them.
    lockStock(tx, context, lookups.productIds, { expiredMax: expiredMaxOf(attempt) }),
    reservationIds.length === 0 ? [] : lockReservations(tx, reservationIds),
  ])
  const expired = new Set(stock.expiredIds)
  const reservations = new Map<string, LockedReservation>()
  for (const row of rows) {
    if (expired.has(row.id)) row.state = 'expired'
    reservations.set(row.id, { row, lines: lookups.linesOfReservation.get(row.id) ?? [] })
  }
  const [held] = await pipeline([
    findHeld(tx, stock, changes, lookups.idOfSku),
    readConfirmed(tx, [...reservations.values()]),
  ])
  return createGroup(tx, stock, lookups, reservations, held)
}

/** Reads again the lines of reservations that were confirmed between the look-up and the lock. */
async function readConfirmed(tx: Sql, reservations: readonly LockedReservation[]): Promise<void> {
  const confirmed = reservations.filter(({ row }) => row.state === 'confirmed')
  if (confirmed.length === 0) return
  const lines = await linesOf(
    tx,
    confirmed.map(({ row }) => row.id),
  )
  for (const reservation of confirmed) {
    reservation.lines = lines.filter(({ reservationId }) => reservationId === reservation.row.id)
  }
}

function createGroup(
  tx: Sql,
  stock: LockedStock,
  { idOfSku, locations, replaced }: Lookups,
  reservations: ReadonlyMap<string, LockedReservation>,
  heldBefore: readonly HeldLine[],
) {
  const changed = new Set<LockedReservation>()
  const holds: NewHold[] = []

  const group: StockGroup = {
    stock,
    now: stock.lockedAt,
    productIdOf: (line) => productIdOf(line, idOfSku),
    requireLocation(code) {
      if (code !== undefined && code !== 'main' && !locations.has(code)) throw notFound('location', code, 'code')
    },
    reservation(id, context) {
      const reservation = reservations.get(id)
      if (!reservation || !mayTouch(context, reservation.row)) throw notFound('reservation', id)
      return reservation
    },
    replacedBy(refersTo) {
      const ids = replaced.get(holdName(refersTo) ?? '') ?? []
      return ids.flatMap((id) => reservations.get(id) ?? []).filter(({ row }) => row.state === 'held')
    },
    heldLines() {
      const isHeld = (id: string) => (reservations.get(id)?.row.state ?? 'held') === 'held'
      return [
        ...heldBefore.filter(({ reservationId }) => isHeld(reservationId)),
        ...holds.flatMap(({ reservation: { id, holder, lines }, madeBy }) =>
          holder === null ? [] : lines.map((line) => ({ ...line, reservationId: id, holder, madeBy })),
        ),
      ]
    },
    change(reservation, change) {
      reservation.row = { ...reservation.row, ...change, updatedAt: stock.lockedAt }
      changed.add(reservation)
      return toReservation(reservation.row, reservation.lines)
    },
    add: (hold) => void holds.push(hold),
  }

  return {
    group,
    /** Whether everything that a change refers to, including its shopper's hold, has been looked up and locked. */
    covers(refersTo: References): boolean {
      if (refersTo.reservationId !== undefined || holdName(refersTo) !== undefined) return false
      return (refersTo.lines ?? []).every(({ productId, sku, location }) => {
        const id = productId ?? (sku && idOfSku.get(sku))
        if (id === undefined || !stock.has(id) || isLimitedByHolder(stock, id)) return false
        return location === undefined || location === 'main' || locations.has(location)
      })
    },
    async write(decisions: Iterable<Decision<unknown>>): Promise<void> {
      // An overdue hold must never cost a request its stock.
      if (stock.isCutOff && [...decisions].some(isShort)) throw new StaleRead('overdue holds were left')
      // Sent together, and run in this order: a shopper's old hold must end before the new one is inserted, because of the unique index.
      await pipeline([saveReservations(tx, [...changed]), stock.save(), insertHolds(tx, holds)])
    },
  }
}

const isShort = (decision: Decision<unknown>) => 'error' in decision && decision.error.code === 'insufficient_stock'
