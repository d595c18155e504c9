import { counter } from '#telemetry'
import type { NewMovement } from './movements.ts'

/** The outcome of a reservation, by the type of its movements. */
const outcomes = { reserved: 'held', confirmed: 'confirmed', released: 'released', expired: 'expired' } as const
type Outcome = (typeof outcomes)[keyof typeof outcomes]

const reservations = counter(
  'stock_reservations_total',
  'Reservations by what became of them: held, confirmed, released or expired.',
  ['outcome'],
)
const units = counter(
  'stock_reservation_units_total',
  'Pieces that reservations have held, confirmed, released or let expire. Of one confirmed in part the rest is released.',
  ['outcome'],
)

/** Counts the outcomes of reservations in a committed transaction. No transaction both holds and ends the same reservation. */
export function countMovements(movements: readonly NewMovement[]): void {
  const became = new Map<string, Outcome>()
  for (const { type, reservationId, reservedDelta } of movements) {
    if (type === 'adjustment' || type === 'count' || reservationId === null) continue
    const outcome = outcomes[type]
    units.inc({ outcome }, Math.abs(reservedDelta))
    if (became.get(reservationId) !== 'confirmed') became.set(reservationId, outcome)
  }
  for (const outcome of became.values()) reservations.inc({ outcome })
}
