import { invalidate } from '#cache'
import { afterCommit, pipeline, type RequestContext, type Sql } from '#database'
import { notFound } from '#errors'
import { type NewEvent, publish } from '#events'
import { stockChanges } from '../events.ts'
import { setExpired } from '../reservations/reservation-rows.ts'
import { cacheGroup } from './cache-group.ts'
import { apply, type Change, toEvent, totalsOf } from './change.ts'
import { type LockedProduct, saveLevels } from './levels.ts'
import { countMovements } from './movement-metrics.ts'
import { insertMovements, type NewMovement } from './movements.ts'

/**
 * The locked stock of some products, in memory. Changes are decided and applied here, in order, and `save` writes all of them at once, each with
 * its ledger row and its event. Changes that are not saved leave no trace. Every change of stock goes through this object.
 */
export interface LockedStock {
  /** The database's time when all products were locked. */
  lockedAt: Date
  /** The ids of the overdue holds that locking this stock has ended. `isCutOff`: there may be more overdue holds on its products. */
  expiredIds: readonly string[]
  isCutOff: boolean
  /** Whether the product exists and is locked. */
  has: (productId: string) => boolean
  /** Throws `product_not_found` for a product that does not exist or is not locked. */
  product: (productId: string) => LockedProduct
  /** Applies a change. The caller ensures that it leaves `0 <= reserved <= onHand`; the database would refuse it otherwise. */
  change: (context: RequestContext, change: Change) => NewMovement
  /** Adds an event of the product that is not a change of its stock. Adds the product's next version and its stock to `data`; returns the version. */
  announce: (context: RequestContext, type: NewEvent['type'], productId: string, data: object) => number
  /** How many events there are to save: those of changes, and announced ones. */
  changes: () => number
  save: () => Promise<void>
}

/**
 * The stock of products that `tx` adds: 0 at `main`. No other transaction sees these products yet, so they need no lock. But `tx` must have locked
 * other stock before, because that waits for stocktakes. `save` writes their levels with everything else.
 */
export function stockOfNewProducts(
  tx: Sql,
  { lockedAt }: Pick<LockedStock, 'lockedAt'>,
  products: ReadonlyArray<{ id: string; sku: string }>,
): LockedStock {
  const levels = () => [{ location: 'main', onHand: 0, reserved: 0, isNew: true, isTouched: true }]
  const locked = products.map(({ id, sku }) => ({ id, sku, version: 0, levels: levels(), terms: null }))
  return createLockedStock(tx, new Map(locked.map((product) => [product.id, product])), lockedAt)
}

/** The stock of products that `tx` has locked. */
export function createLockedStock(tx: Sql, products: Map<string, LockedProduct>, lockedAt: Date): LockedStock {
  const movements: NewMovement[] = []
  const events: NewEvent[] = []
  const changed = new Set<LockedProduct>()
  const occurredAt = lockedAt.toISOString()

  const stock: LockedStock = {
    lockedAt,
    expiredIds: [],
    isCutOff: false,
    has: (productId) => products.has(productId),
    product(productId) {
      const product = products.get(productId)
      if (!product) throw notFound('product', productId)
      return product
    },
    change(by, change) {
      const product = stock.product(change.productId)
      const movement = apply(product, by, change, occurredAt)
      changed.add(product)
      movements.push(movement)
      events.push(toEvent(product, movement, by))
      return movement
    },
    announce(by, type, productId, data) {
      const product = stock.product(productId)
      const version = ++product.version
      changed.add(product)
      events.push({ type, productId, version, data: { ...data, version, stock: totalsOf(product) }, trace: by.trace })
      return version
    },
    changes: () => events.length,
    async save() {
      if (changed.size === 0) return
      afterCommit(tx, (token) => {
        countMovements(movements)
        invalidate(
          Array.from(changed, ({ id }) => cacheGroup(id)),
          token,
        )
      })
      await pipeline([
        setExpired(tx, stock.expiredIds),
        saveLevels(tx, [...changed]),
        insertMovements(tx, movements),
        publish(tx, markIntermediate(events)),
      ])
    },
  }
  return stock
}

const changes: ReadonlySet<string> = new Set(stockChanges)

/** Marks the events whose stock a later change of the same transaction has replaced: nobody ever saw that stock. */
function markIntermediate(events: NewEvent[]): NewEvent[] {
  const replaced = new Set<string>()
  for (let at = events.length - 1; at >= 0; at--) {
    const { type, productId, data } = events[at] as NewEvent
    if (replaced.has(productId)) (data as { intermediate?: true }).intermediate = true
    else if (changes.has(type)) replaced.add(productId)
  }
  return events
}
