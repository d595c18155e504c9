import { pipeline, type RequestContext, type Sql } from '#database'
import { expireOverdue, findOverdue } from './expiry.ts'
import { lockProducts, tryLockProducts } from './levels.ts'
import { createLockedStock, type LockedStock } from './locked-stock.ts'

/** The most overdue holds that one transaction ends, at 0.1 ms each. With more, it would keep its locks for longer than a request should wait. */
export const EXPIRED_MAX = 500

/**
 * The same limit for a later attempt, after attempts that were refused while overdue holds were left. An overdue hold must never cost a request its
 * stock, so each attempt ends 20 times as many: 200,000 at most.
 */
export function expiredMaxOf(attempt: number): number {
  return EXPIRED_MAX * Math.min(400, 20 ** (attempt - 1))
}

/**
 * Locks the products' stock in the one order that all transactions use (by product id), and expires the overdue holds on it. With `skipLocked`, it
 * skips holds that another transaction has locked. Products that don't exist are left out: the result's `product` throws for them. Waits for the
 * lock time-out at most.
 */
export async function lockStock(
  tx: Sql,
  context: RequestContext,
  productIds: Iterable<string>,
  { expiredMax = EXPIRED_MAX, skipLocked = false } = {},
): Promise<LockedStock> {
  const wanted = [...new Set(productIds)].sort()
  // Sent together, to hold the locks for as short a time as possible.
  const [{ products, lockedAt }, overdue] = await pipeline([
    lockProducts(tx, wanted),
    findOverdue(tx, wanted, expiredMax),
  ])
  // An overdue hold may cover other products too. It is ended only if they can be locked without waiting.
  const others = new Set([...overdue.values()].flat().filter((id) => !products.has(id)))
  if (others.size > 0) for (const [id, other] of await tryLockProducts(tx, [...others])) products.set(id, other)
  const endingIds = [...overdue].filter(([, ids]) => ids.every((id) => products.has(id))).map(([id]) => id)

  const stock = createLockedStock(tx, products, lockedAt)
  stock.isCutOff = overdue.size === expiredMax || endingIds.length < overdue.size
  if (endingIds.length > 0) stock.expiredIds = await expireOverdue(tx, context, stock, endingIds, { skipLocked })
  return stock
}
