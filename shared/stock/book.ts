import { invalidate } from '#cache'
import { afterCommit, type Caller, pipeline, type Sql } from '#database'
import { ServiceError } from '#errors'
import { type NewEvent, publish, stockChanges } from '#events'
import { cacheGroup } from './cache-group.ts'
import { apply, type Change, toEvent, totalsOf } from './change.ts'
import { expireOverdue, findOverdue } from './expiry.ts'
import { type LockedProduct, lockProducts, saveLevels, tryLockProducts } from './levels.ts'
import { insertMovements, type NewMovement } from './movements.ts'
import { setState } from './reservation-rows.ts'

/**
 * The stock of some products, locked, in memory: changes are decided and applied here, in order, and `save` writes them
 * all at once, each with its ledger row and its event. A book that is not saved leaves no trace. Whoever changes stock
 * does it through a book.
 */
export interface Book {
  /** By the database's clock, once all was locked. */
  openedAt: Date
  /** The overdue holds that end with it, and whether there may be more on its products. */
  expiredIds: readonly string[]
  isCutOff: boolean
  /** Whether the product is there, and locked. */
  has: (productId: string) => boolean
  /** Throws `product_not_found` for a product that is not there, or was not asked for when the book was opened. */
  product: (productId: string) => LockedProduct
  /** Applies a change. The caller has made sure that it leaves `0 <= reserved <= onHand`; the database would refuse it. */
  change: (caller: Caller, change: Change) => NewMovement
  /** Adds an event of the product that is not a change of its stock. `data` gets the product's next version, and its stock. */
  announce: (caller: Caller, type: NewEvent['type'], productId: string, data: object) => number
  save: () => Promise<void>
}

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

/**
 * The stock of products that `tx` adds: none, at `main`. Nobody else sees them yet, so there is nothing to be locked; but a book
 * must have been opened before, since that waits for stocktakes. `save` writes their levels with everything else.
 */
export function openBookOfNew(
  tx: Sql,
  { openedAt }: Pick<Book, 'openedAt'>,
  products: ReadonlyArray<{ id: string; sku: string }>,
): Book {
  const levels = () => [{ location: 'main', onHand: 0, reserved: 0, isNew: true, isTouched: true }]
  const locked = products.map(({ id, sku }) => ({ id, sku, version: 0, levels: levels(), terms: null }))
  return createBook(tx, new Map(locked.map((product) => [product.id, product])), openedAt)
}

function createBook(tx: Sql, products: Map<string, LockedProduct>, openedAt: Date): Book {
  const movements: NewMovement[] = []
  const events: NewEvent[] = []
  const changed = new Set<LockedProduct>()
  const occurredAt = openedAt.toISOString()

  const book: Book = {
    openedAt,
    expiredIds: [],
    isCutOff: false,
    has: (productId) => products.has(productId),
    product(productId) {
      const product = products.get(productId)
      if (!product) throw new ServiceError('product_not_found', `There is no product with the id '${productId}'.`)
      return product
    },
    change(by, change) {
      const product = book.product(change.productId)
      const movement = apply(product, by, change, occurredAt)
      changed.add(product)
      movements.push(movement)
      events.push(toEvent(product, movement, by))
      return movement
    },
    announce(by, type, productId, data) {
      const product = book.product(productId)
      const version = ++product.version
      changed.add(product)
      events.push({ type, productId, version, data: { ...data, version, stock: totalsOf(product) }, trace: by.trace })
      return version
    },
    async save() {
      if (changed.size === 0) return
      afterCommit(tx, (token) =>
        invalidate(
          Array.from(changed, ({ id }) => cacheGroup(id)),
          token,
        ),
      )
      await pipeline([
        setState(tx, book.expiredIds, 'expired'),
        saveLevels(tx, [...changed]),
        insertMovements(tx, movements),
        publish(tx, markIntermediate(events)),
      ])
    },
  }
  return book
}

const changes: ReadonlySet<string> = new Set(stockChanges)

/** Marks the events whose stock a later change of the same transaction has replaced: nobody has ever seen it. */
function markIntermediate(events: NewEvent[]): NewEvent[] {
  const replaced = new Set<string>()
  for (const { type, productId, data } of events.toReversed()) {
    if (replaced.has(productId)) Object.assign(data, { intermediate: true })
    else if (changes.has(type)) replaced.add(productId)
  }
  return events
}
