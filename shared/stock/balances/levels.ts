import { pipeline, type Sql } from '#database'

/** One product's balance at one location. */
export interface Level {
  location: string
  onHand: number
  reserved: number
  isNew: boolean
  isTouched: boolean
}

/** A product's terms for reservations. */
export interface HoldingTerms {
  isArchived: boolean
  perReservation: number | null
  perHolder: number | null
}

/** A product whose row this transaction has locked, with its balances by allocation priority. */
export interface LockedProduct {
  id: string
  sku: string
  /** The number of its last event. */
  version: number
  levels: Level[]
  /** Null for a product without terms. Nearly all products have none. */
  terms: HoldingTerms | null
}

interface LevelRow {
  productId: string
  sku: string
  location: string
  onHand: number
  reserved: number
  version: number
  terms: HoldingTerms | null
}

/**
 * Locks products in the order of their ids, and reads their balances. `lockedAt` is the database's time after that. Products that don't exist are
 * left out. The first statement waits for stocktakes, which lock the table: no row is locked yet, so this wait can't deadlock. Each statement has
 * its own snapshot, so the third sees everything that earlier holders of the locks committed.
 */
export async function lockProducts(tx: Sql, productIds: string[]) {
  const [, , rows, [clock]] = await pipeline([
    tx`lock table stock_levels in row exclusive mode`,
    lockRows(tx, productIds),
    readRows(tx, productIds),
    tx<[{ lockedAt: Date }]>`select date_trunc('milliseconds', clock_timestamp()) as "lockedAt"`,
  ])
  return { products: toProducts(rows), lockedAt: clock.lockedAt }
}

/** Locks the products that no other transaction has locked. It never waits, so it can't deadlock, whatever the order of its locks. */
export async function tryLockProducts(tx: Sql, productIds: string[]): Promise<Map<string, LockedProduct>> {
  const locked = await lockRows(tx, productIds, { skipLocked: true })
  const ids = locked.map(({ id }) => id)
  return toProducts(await readRows(tx, ids))
}

/**
 * The query compares with an array and does not join the ids. While the planner's statistics are those of a small table, for example in the minute
 * after an import, it planned a join as one scan of the table for each id.
 */
function lockRows(tx: Sql, productIds: string[], { skipLocked = false } = {}) {
  return tx<Array<{ id: string }>>`
    select product_id as id from stock_levels where product_id = any(${productIds}::uuid[]) and location = 'main'
    order by product_id for update ${skipLocked ? tx`skip locked` : tx``}`
}

function readRows(tx: Sql, productIds: string[]) {
  return tx<LevelRow[]>`
    select product.id as "productId", product.sku, level.location, level.on_hand as "onHand", level.reserved, level.version,
           product.terms
    from unnest(${productIds}::uuid[]) as wanted (id)
    cross join lateral (
      select id, sku, case when status = 'archived' or limit_per_reservation is not null or limit_per_holder is not null
        then json_build_object('isArchived', status = 'archived', 'perReservation', limit_per_reservation,
                               'perHolder', limit_per_holder) end as terms
      from products where id = wanted.id and deleted_at is null limit 1
    ) as product
    join stock_levels as level on level.product_id = product.id
    join locations as location on location.code = level.location
    order by location.priority, location.code`
}

function toProducts(rows: readonly LevelRow[]): Map<string, LockedProduct> {
  const products = new Map<string, LockedProduct>()
  for (const { productId, sku, location, onHand, reserved, version, terms } of rows) {
    const product = products.get(productId) ?? { id: productId, sku, version: 0, levels: [], terms }
    products.set(productId, product)
    // Only the row at 'main' carries the version.
    product.version += version
    product.levels.push({ location, onHand, reserved, isNew: false, isTouched: false })
  }
  return products
}

/** Writes the changed balances and each product's version: one statement for existing rows, one for new rows. */
export async function saveLevels(tx: Sql, products: LockedProduct[]): Promise<void> {
  const rows = products.flatMap(({ id, version, levels }) =>
    levels
      // The row at 'main' carries the version, so it is written with every event.
      .filter(({ location, isTouched }) => isTouched || location === 'main')
      .map((level) => ({ ...level, productId: id, version: level.location === 'main' ? version : 0 })),
  )
  const fresh = rows.filter(({ isNew }) => isNew)
  const known = rows.filter(({ isNew }) => !isNew)
  await pipeline([known.length > 0 && updateLevels(tx, known), fresh.length > 0 && insertLevels(tx, fresh)])
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
