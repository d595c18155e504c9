import { type Sql, StaleRead } from '#database'

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

interface LevelRow {
  productId: string
  sku: string
  location: string
  onHand: number
  reserved: number
  version: number
}

/**
 * Locks products, in the order given, and reads their balances; `lockedAt` is the database's time then. Products that don't
 * exist are left out. The first statement is for stocktakes, which lock the table: waiting for them here, before any row is locked, can't
 * deadlock. The third has a snapshot of its own, taken once the locks are held, so it sees all that was committed under them.
 */
export async function lockProducts(tx: Sql, productIds: string[]) {
  const [, , rows, [clock]] = await Promise.all([
    tx`lock table stock_levels in row exclusive mode`,
    tx`
      select product_id from unnest(${productIds}::uuid[]) as wanted (id)
      join stock_levels as level on level.product_id = wanted.id and level.location = 'main'
      order by product_id for update of level`,
    tx<LevelRow[]>`
      select product.id as "productId", product.sku, level.location, level.on_hand as "onHand", level.reserved, level.version
      from unnest(${productIds}::uuid[]) as wanted (id)
      cross join lateral (select id, sku from products where id = wanted.id and deleted_at is null limit 1) as product
      join stock_levels as level on level.product_id = product.id
      join locations as location on location.code = level.location
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

/** Writes the balances that changed, and the version of every product: one statement for the rows that are there, one for new ones. */
export async function saveLevels(tx: Sql, products: LockedProduct[]): Promise<void> {
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
