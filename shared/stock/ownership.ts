import { type Caller, hasScope, type Sql } from '#database'

function seesAll(caller: Caller): boolean {
  return !caller.ownsReservations || hasScope(caller, 'admin')
}

/** Who must have made a reservation for the caller to see and to change it; null where anybody may. To others it is as if it were not there. */
export function makerFor(caller: Caller): string | null {
  return seesAll(caller) ? null : caller.actor
}

export function mayTouch(caller: Caller, { madeBy }: { madeBy: string | null }): boolean {
  return seesAll(caller) || madeBy === caller.actor
}

/** The same, as a condition on rows of `reservations`. */
export function isTouchable(sql: Sql, caller: Caller) {
  return seesAll(caller) ? sql`true` : sql`made_by = ${caller.actor}`
}
