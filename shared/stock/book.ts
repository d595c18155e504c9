import { type Caller, type Sql, StaleRead } from '#database'
import { invalid, ServiceError } from '#errors'
import { type NewEvent, publish } from '#events'
import { newId } from '#ids'
import { expireOverdue, findOverdue } from './expiry.ts'
import { insertMovements, type NewMovement } from './movements.ts'
import { type movementTypes, ON_HAND_MAX, type StockTotals } from './schema.ts'

/** One product's balance at one location. */
export interface Level {
  location: string
  onHand: number
  reserved: number
  isNew: boolean
  isTouched: boolean
}

/** A product whose row is locked by this transaction, with its balances in the order in which locations serve. */
export interface LockedProduct {
  id: string
  sku: string
  /** The number of its last event. */
  version: number
  levels: Level[]
}

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
 * all at once, each with its ledger row and its event. Whoever changes stock does it through a book.
 */
export interface Book {
  /** By the database's clock, once all was locked. */
  openedAt: Date
  /** How many overdue holds were ended when it was opened, and whether there may be more on its products. */
  expired: number
  isCutOff: boolean
  /** Throws `product_not_found` for a product that is not there, or was not asked for when the book was opened. */
  product: (productId: string) => LockedProduct
  /** Applies a change. The caller has made sure that it leaves `0 <= reserved <= onHand`; the database would refuse it. */
  change: (caller: Caller, change: Change) => NewMovement
  /** Adds an event of the product that is not a change of its stock. `data` gets the product's next version. */
  announce: (caller: Caller, type: NewEvent['type'], productId: string, data: object) => number
  save: () => Promise<void>
}

/** Overdue holds that one transaction ends, at 0.1 ms each: more would keep its locks for longer than a request should wait. */
export const EXPIRED_MAX = 500

/**
 * Locks the products' stock, in the one order that all transactions keep (by product id), and expires what holds on them
 * are overdue. Products that don't exist are left out; `book.product` tells. Waits at most the lock time-out.
 */
export async function openBook(
  tx: Sql,
  caller: Caller,
  productIds: Iterable<string>,
  expiredMax = EXPIRED_MAX,
): Promise<Book> {
  const wanted = [...new Set(productIds)]
  // An overdue hold may cover other products too. They are locked with the rest: later would be out of order.
  const overdue = await findOverdue(tx, wanted, expiredMax)
  const { products, lockedAt } = await lockProducts(tx, [...new Set([...wanted, ...overdue.productIds])].sort())
  const movements: NewMovement[] = []
  const events: NewEvent[] = []

  const changed = new Set<LockedProduct>()
  const occurredAt = lockedAt.toISOString()

  const book: Book = {
    openedAt: lockedAt,
    expired: 0,
    isCutOff: overdue.reservationIds.length === expiredMax,
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
      events.push({ type, productId, version, data: { ...data, version }, trace: by.trace })
      return version
    },
    async save() {
      if (changed.size === 0) return
      await Promise.all([saveLevels(tx, [...changed]), insertMovements(tx, movements), publish(tx, events)])
    },
  }
  if (overdue.reservationIds.length > 0) {
    book.expired = await expireOverdue(tx, caller, book, overdue.reservationIds)
  }
  return book
}

/** The totals of a product over all its locations. */
export function totalsOf({ levels }: LockedProduct): StockTotals {
  const onHand = levels.reduce((sum, level) => sum + level.onHand, 0)
  const reserved = levels.reduce((sum, level) => sum + level.reserved, 0)
  return { onHand, reserved, available: onHand - reserved }
}

interface LevelRow {
  productId: string
  sku: string
  location: string
  onHand: number
  reserved: number
  version: number
}

/**
 * The first statement is for stocktakes, which lock the table: waiting for them here, before any row is locked, can't
 * deadlock. The third has a snapshot of its own, taken once the locks are held, so it sees all that was committed under them.
 */
async function lockProducts(tx: Sql, productIds: string[]) {
  const [, , rows, [clock]] = await Promise.all([
    tx`lock table stock_levels in row exclusive mode`,
    tx`
      select product_id from stock_levels
      where product_id = any(${productIds}::uuid[]) and location = 'main'
      order by product_id for update`,
    tx<LevelRow[]>`
      select level.product_id as "productId", product.sku, level.location, level.on_hand as "onHand", level.reserved, level.version
      from stock_levels as level
      join products as product on product.id = level.product_id and product.deleted_at is null
      join locations as location on location.code = level.location
      where level.product_id = any(${productIds}::uuid[])
      order by location.priority, location.code`,
    tx<[{ lockedAt: Date }]>`select date_trunc('milliseconds', clock_timestamp()) as "lockedAt"`,
  ])
  const products = new Map<string, LockedProduct>()
  for (const { productId, sku, location, onHand, reserved, version } of rows) {
    const product = products.get(productId) ?? { id: productId, sku, version: 0, levels: [] }
    products.set(productId, product)
    // Only the row at 'main' counts.
    product.version += version
    product.levels.push({ location, onHand, reserved, isNew: false, isTouched: false })
  }
  return { products, lockedAt: clock.lockedAt }
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

async function saveLevels(tx: Sql, products: LockedProduct[]): Promise<void> {
  const rows = products.flatMap(({ id, version, levels }) =>
    levels
      // The row at 'main' carries the version, so it is written with every event.
      .filter(({ location, isTouched }) => isTouched || location === 'main')
      .map((level) => ({ ...level, productId: id, version: level.location === 'main' ? version : 0 })),
  )
  const known = rows.filter(({ isNew }) => !isNew)
  const fresh = rows.filter(({ isNew }) => isNew)
  const updated = await updateLevels(tx, known)
  if (updated.count !== known.length) throw new StaleRead('a stock level vanished under its lock')
  if (fresh.length > 0) await insertLevels(tx, fresh)
}

type SavedLevel = Level & { productId: string; version: number }

const columnsOf = (rows: SavedLevel[]) => ({
  productIds: rows.map((row) => row.productId),
  locations: rows.map((row) => row.location),
  onHands: rows.map((row) => row.onHand),
  reserveds: rows.map((row) => row.reserved),
  versions: rows.map((row) => row.version),
})

function updateLevels(tx: Sql, rows: SavedLevel[]) {
  const { productIds, locations, onHands, reserveds, versions } = columnsOf(rows)
  return tx`
    update stock_levels as level
    set on_hand = saved.on_hand, reserved = saved.reserved, version = saved.version
    from unnest(${productIds}::uuid[], ${locations}::text[], ${onHands}::int[], ${reserveds}::int[], ${versions}::bigint[])
      as saved (product_id, location, on_hand, reserved, version)
    where level.product_id = saved.product_id and level.location = saved.location`
}

function insertLevels(tx: Sql, rows: SavedLevel[]) {
  const { productIds, locations, onHands, reserveds, versions } = columnsOf(rows)
  return tx`
    insert into stock_levels (product_id, location, on_hand, reserved, version)
    select * from unnest(${productIds}::uuid[], ${locations}::text[], ${onHands}::int[], ${reserveds}::int[], ${versions}::bigint[])`
}
