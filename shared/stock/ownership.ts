import { hasScope, type RequestContext, type Sql } from '#database'

function seesAll(context: RequestContext): boolean {
  return !context.ownsReservations || hasScope(context, 'admin')
}

/** Who must have made a reservation for the request to see and to change it; null where anybody may. To others it is as if it were not there. */
export function makerFor(context: RequestContext): string | null {
  return seesAll(context) ? null : context.actor
}

export function mayTouch(context: RequestContext, { madeBy }: { madeBy: string | null }): boolean {
  return seesAll(context) || madeBy === context.actor
}

/** The same, as a condition on rows of `reservations`. */
export function isTouchable(sql: Sql, context: RequestContext) {
  return seesAll(context) ? sql`true` : sql`made_by = ${context.actor}`
}
