import { invalidate } from '#cache'
import { afterCommit, type Caller, pipeline, type Sql } from '#database'
import { invalid, ServiceError } from '#errors'
import { type NewEvent, publish } from '#events'
import { newId } from '#ids'
import { cacheGroup } from './cache-group.ts'
import { expireOverdue, findOverdue } from './expiry.ts'
import { type LockedProduct, lockProducts, saveLevels, tryLockProducts } from './levels.ts'
import { insertMovements, type NewMovement } from './movements.ts'
import { setState } from './reservation-rows.ts'
import { type movementTypes, ON_HAND_MAX, type StockTotals } from './schema.ts'

export interface Change {
  productId: string
  location: string
  type: (typeof movementTypes)[number]
  onHandDelta: number
  reservedDelta: number
  reason?: string | undefined
  reference?: string | undefined
  note?: string | undefined
  reservationId?: string | undefined
}

const eventTypeOf = {
  adjustment: 'stock.adjusted',
  reserved: 'stock.reserved',
  released: 'stock.released',
  expired: 'stock.expired',
  confirmed: 'stock.confirmed',
  count: 'stock.counted',
} as const

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

  const movements: NewMovement[] = []
  const events: NewEvent[] = []
  const changed = new Set<LockedProduct>()
  const occurredAt = lockedAt.toISOString()

  const book: Book = {
    openedAt: lockedAt,
    expiredIds: [],
    isCutOff: overdue.size === expiredMax || endingIds.length < overdue.size,
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
        publish(tx, events),
      ])
    },
  }
  if (endingIds.length > 0) book.expiredIds = await expireOverdue(tx, caller, book, endingIds, { skipLocked })
  return book
}

/** The totals of a product over all its locations. */
export function totalsOf({ levels }: LockedProduct): StockTotals {
  const onHand = levels.reduce((sum, level) => sum + level.onHand, 0)
  const reserved = levels.reduce((sum, level) => sum + level.reserved, 0)
  return { onHand, reserved, available: onHand - reserved }
}

function apply(product: LockedProduct, caller: Caller, change: Change, occurredAt: string): NewMovement {
  let level = product.levels.find(({ location }) => location === change.location)
  if (!level) {
    level = { location: change.location, onHand: 0, reserved: 0, isNew: true, isTouched: false }
    product.levels.push(level)
  }
  if (level.onHand + change.onHandDelta > ON_HAND_MAX) {
    throw invalid('quantity', `would leave more than ${ON_HAND_MAX} on hand at ${change.location}`)
  }
  level.onHand += change.onHandDelta
  level.reserved += change.reservedDelta
  level.isTouched = true
  return {
    id: newId(),
    productId: change.productId,
    location: change.location,
    type: change.type,
    onHandDelta: change.onHandDelta,
    reservedDelta: change.reservedDelta,
    onHandAfter: level.onHand,
    reservedAfter: level.reserved,
    reason: change.reason ?? null,
    reference: change.reference ?? null,
    note: change.note ?? null,
    reservationId: change.reservationId ?? null,
    actor: caller.actor,
    occurredAt,
  }
}

function toEvent(product: LockedProduct, movement: NewMovement, caller: Caller): NewEvent {
  const { productId, location, onHandDelta, reservedDelta, reservationId, reason, reference } = movement
  const version = ++product.version
  const stock = totalsOf(product)
  return {
    type: eventTypeOf[movement.type],
    productId,
    version,
    data: { productId, version, location, onHandDelta, reservedDelta, stock, reservationId, reason, reference },
    trace: caller.trace,
  }
}
