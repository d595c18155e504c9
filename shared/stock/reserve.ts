import type * as z from 'zod'
import { type Decision, type Group, groupCommit, type Member, pipeline, type Sql, StaleRead } from '#database'
import { notFound, ServiceError } from '#errors'
import { newId } from '#ids'
import { type AllocatedLine, allocate, type Shortage, sumDemands } from './allocation.ts'
import { endOfHold } from './change.ts'
import { findHeld, type HeldLine, isLimitedByHolder, refusalByTerms, sumHeld, withHold } from './holding-terms.ts'
import { expiredMaxOf, lockStock } from './lock-stock.ts'
import type { LockedStock } from './locked-stock.ts'
import { insertHolds, lockReservations, setState } from './reservation-rows.ts'
import { holdName, type Lookups, lookUp } from './reserve-lookups.ts'
import type { Reservation, ReserveRequest } from './schema.ts'
import { holdLifeMaxSeconds } from './settings.ts'
import { productIdOf } from './skus.ts'

type Request = z.infer<typeof ReserveRequest>

/**
 * Holds stock for every line, or for none. A held reservation with the same holder and reference is replaced: what it
 * holds counts as free. Throws, in this order, `product_not_found`, `location_not_found`, `product_archived`, `validation_failed` if
 * a product needs a holder, `limit_exceeded` with every limit that is exceeded, `insufficient_stock` with every short line.
 * Requests that wait for the same moment share one transaction: see docs/decisions/0006-group-commit.md.
 */
export const reserve = groupCommit<Request, Reservation>({
  name: 'reserve-stock',
  // Half of what a process has in flight when it is saturated: it reads and answers one half while the database is busy with
  // the other. With twice as many they take turns; with half as many the cost of a transaction is shared by too few.
  batchMax: 128,
  // What several processes' worth of connections can send; at 5,000 requests a second it is gone in a second.
  queueMax: 4_096,
  keysOf: (request) => holdName(request) ?? [],
  open,
})

/** The rows that a batch writes at its end. */
interface Plan {
  stock: LockedStock
  /** When its stock was locked: the creation time of its reservations. */
  createdAt: string
  lookups: Lookups
  holds: Array<{ reservation: Reservation; madeBy: string; lines: AllocatedLine[] }>
  releasedIds: string[]
  /** What holders hold of products with a limit per holder. */
  held: HeldLine[]
}

async function open(
  tx: Sql,
  members: [Member<Request>, ...Array<Member<Request>>],
  attempt: number,
): Promise<Group<Request, Reservation>> {
  const lookups = await lookUp(tx, members)
  // After a refusal while overdue holds are left, the next attempt ends more of them.
  const { context } = members[0]
  const stock = await lockStock(tx, context, lookups.productIds, {
    expiredMax: expiredMaxOf(attempt),
  })
  await forgetEnded(tx, stock, lookups)
  const held = await findHeld(tx, stock, members, lookups.idOfSku)
  const createdAt = stock.lockedAt.toISOString()
  const plan: Plan = { stock, createdAt, lookups, holds: [], releasedIds: [], held }
  return {
    covers: (request) => isCovered(plan, request),
    decide: (member) => decide(plan, member),
    async write(decisions) {
      if (stock.isCutOff && [...decisions].some(isShort)) throw new StaleRead('overdue holds were left')
      await write(tx, plan)
    },
  }
}

/** Whether all that a request refers to has been looked up and locked, its shopper's hold included. */
function isCovered({ stock, lookups: { idOfSku, locations } }: Plan, request: Request): boolean {
  if (holdName(request)) return false
  return request.lines.every(({ productId, sku, location }) => {
    const id = productId ?? (sku && idOfSku.get(sku))
    if (id === undefined || !stock.has(id) || isLimitedByHolder(stock, id)) return false
    return location === undefined || locations.has(location)
  })
}

/** Of the holds to be replaced, keeps those that are still held now that they are locked, and that are not overdue. */
async function forgetEnded(tx: Sql, stock: LockedStock, { replaced }: Lookups): Promise<void> {
  if (replaced.size === 0) return
  const rows = await lockReservations(
    tx,
    [...replaced.values()].flat().map(({ id }) => id),
  )
  const held = new Set(rows.filter(({ state }) => state === 'held').map(({ id }) => id))
  for (const id of stock.expiredIds) held.delete(id)
  for (const [name, holds] of replaced) {
    replaced.set(
      name,
      holds.filter(({ id }) => held.has(id)),
    )
  }
}

function decide(plan: Plan, member: Member<Request>): Decision<Reservation> {
  try {
    return place(plan, member)
  } catch (error) {
    if (error instanceof ServiceError) return { error }
    throw error
  }
}

/** Decides one request. All checks come before the first change, so a refusal leaves none. */
function place(plan: Plan, { request, context }: Member<Request>): Decision<Reservation> {
  const { stock, lookups, holds, releasedIds } = plan
  const productIds = request.lines.map((line) => productIdOf(line, lookups.idOfSku))
  for (const { location } of request.lines) {
    if (location !== undefined && !lookups.locations.has(location)) throw notFound('location', location, 'code')
  }
  const [name] = holdName(request) ?? []
  const replaced = (name !== undefined && lookups.replaced.get(name)) || []
  const refusal = refusalByTerms(stock, request, productIds, (productId) =>
    sumHeld(plan.held, request.holder, productId, context, replaced),
  )
  if (refusal) return { error: refusal }
  const freed = replaced.flatMap((hold) => hold.lines)
  const { lines, shortages } = allocate(stock, sumDemands(request.lines, productIds), freed)
  if (shortages.length > 0) {
    // Returned, not thrown: for a sold-out product this is the usual answer, and a throw costs as much as the rest of this function.
    return { error: insufficientStock(shortages) }
  }

  for (const old of replaced) {
    releasedIds.push(old.id)
    for (const line of old.lines) stock.change(context, endOfHold('released', line, request.reference))
  }
  const reservation = newReservation(request, lines, plan)
  for (const { productId, location, quantity } of lines) {
    const change = { productId, location, type: 'reserved', onHandDelta: 0, reservedDelta: quantity } as const
    stock.change(context, { ...change, reservationId: reservation.id, reference: request.reference ?? undefined })
  }
  holds.push({ reservation, madeBy: context.actor, lines })
  plan.held = withHold(plan.held, stock, reservation, context, replaced)
  return { result: reservation }
}

const isShort = (decision: Decision<unknown>) => 'error' in decision && decision.error.code === 'insufficient_stock'

function insufficientStock(shortages: Shortage[]): ServiceError {
  const detail = 'There is not enough stock; nothing was held.'
  return new ServiceError('insufficient_stock', detail, { extra: { shortages } })
}

function newReservation(request: Request, lines: AllocatedLine[], { stock, createdAt }: Plan): Reservation {
  const { reference = null, holder = null } = request
  const ttlSeconds = Math.min(request.ttlSeconds, holdLifeMaxSeconds())
  return {
    id: newId(),
    state: 'held',
    lines: lines.map((line) => ({ ...line, confirmedQuantity: 0 })),
    reference,
    holder,
    expiresAt: new Date(stock.lockedAt.getTime() + ttlSeconds * 1_000).toISOString(),
    createdAt,
    updatedAt: createdAt,
  }
}

async function write(tx: Sql, { stock, holds, releasedIds }: Plan): Promise<void> {
  // Sent together, and run in this order: a shopper's old hold must have ended before the new one meets it in the unique index.
  await pipeline([setState(tx, releasedIds, 'released'), stock.save(), insertHolds(tx, holds)])
}
