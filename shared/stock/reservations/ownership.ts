import { hasScope, type RequestContext, type Sql } from '#database'

function seesAll(context: RequestContext): boolean {
  return !context.ownsReservations || hasScope(context, 'admin')
}

/** The only maker whose reservations the request may see and change; null if it may all. For the request, others' reservations do not exist. */
export function makerFor(context: RequestContext): string | null {
  return seesAll(context) ? null : context.actor
}

export function mayTouch(context: RequestContext, { madeBy }: { madeBy: string | null }): boolean {
  return seesAll(context) || madeBy === context.actor
}

/** The same check, as a condition on rows of `reservations`. */
export function isTouchable(sql: Sql, context: RequestContext) {
  return seesAll(context) ? sql`true` : sql`made_by = ${context.actor}`
}
