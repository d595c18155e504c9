import { type Caller, pipeline, type Sql } from '#database'
import { type Book, createBook } from './book.ts'
import { expireOverdue, findOverdue } from './expiry.ts'
import { lockProducts, tryLockProducts } from './levels.ts'

/** Overdue holds that one transaction ends, at 0.1 ms each: more would keep its locks for longer than a request should wait. */
export const EXPIRED_MAX = 500

/**
 * Locks the products' stock, in the one order that all transactions keep (by product id), and expires what holds on them
 * are overdue, but with `skipLocked` for those that others work on. Products that don't exist are left out; `book.product`
 * tells. Waits at most the lock time-out.
 */
export async function openBook(
  tx: Sql,
  caller: Caller,
  productIds: Iterable<string>,
  { expiredMax = EXPIRED_MAX, skipLocked = false } = {},
): Promise<Book> {
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

  const book = createBook(tx, products, lockedAt)
  book.isCutOff = overdue.size === expiredMax || endingIds.length < overdue.size
  if (endingIds.length > 0) book.expiredIds = await expireOverdue(tx, caller, book, endingIds, { skipLocked })
  return book
}
