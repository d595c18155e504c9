import { pipeline, type RequestContext, type Sql } from '#database'
import { expireOverdue, findOverdue } from './expiry.ts'
import { lockProducts, tryLockProducts } from './levels.ts'
import { createLockedStock, type LockedStock } from './locked-stock.ts'

/** Overdue holds that one transaction ends, at 0.1 ms each: more would keep its locks for longer than a request should wait. */
export const EXPIRED_MAX = 500

/**
 * The same for an attempt after others that were refused with overdue holds left: 20 times as many each time, 200,000 at most, since
 * those must not stand in a request's way.
 */
export function expiredMaxOf(attempt: number): number {
  return EXPIRED_MAX * Math.min(400, 20 ** (attempt - 1))
}

/**
 * Locks the products' stock, in the one order that all transactions keep (by product id), and expires what holds on them
 * are overdue, but with `skipLocked` for those that others work on. Products that don't exist are left out; `product` of
 * what is given tells. Waits at most the lock time-out.
 */
export async function lockStock(
  tx: Sql,
  context: RequestContext,
  productIds: Iterable<string>,
  { expiredMax = EXPIRED_MAX, skipLocked = false } = {},
): Promise<LockedStock> {
  const wanted = [...new Set(productIds)].sort()
  // Sent together: the locks are held for as short as can be.
  const [{ products, lockedAt }, overdue] = await pipeline([
    lockProducts(tx, wanted),
    findOverdue(tx, wanted, expiredMax),
  ])
  // An overdue hold may cover other products too: it ends if they can be had at once.
  const others = new Set([...overdue.values()].flat().filter((id) => !products.has(id)))
  if (others.size > 0) for (const [id, other] of await tryLockProducts(tx, [...others])) products.set(id, other)
  const endingIds = [...overdue].filter(([, ids]) => ids.every((id) => products.has(id))).map(([id]) => id)

  const stock = createLockedStock(tx, products, lockedAt)
  stock.isCutOff = overdue.size === expiredMax || endingIds.length < overdue.size
  if (endingIds.length > 0) stock.expiredIds = await expireOverdue(tx, context, stock, endingIds, { skipLocked })
  return stock
}
