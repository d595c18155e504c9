import * as z from 'zod'
import type { eventTypes } from '#events'

/** The types of event that report a change of stock. */
export const stockChanges = [
  'stock.adjusted',
  'stock.reserved',
  'stock.released',
  'stock.expired',
  'stock.confirmed',
  'stock.counted',
] as const satisfies ReadonlyArray<keyof typeof eventTypes>

const Quantity = z.number().int()
const Version = z.number().int().positive().describe('Counts the events of this product; +1 each time.')
const Stock = z.object({ onHand: Quantity, reserved: Quantity, available: Quantity }).meta({ id: 'StockAfter' })

/** Marks stock that no reader ever saw: when one transaction makes several changes, only the stock after the last one becomes visible. */
export const Intermediate = z
  .literal(true)
  .optional()
  .describe(
    'Another change of the product’s stock followed in the same transaction: `stock` was never there for anyone.',
  )

/** The members of every event: its product, and the product's stock over all locations after the event. */
const ChangedProduct = z.object({ productId: z.uuid(), version: Version, stock: Stock })

/** The members that a change of a product and a change of its stock have in common. A change of the product alone moves no stock. */
export const ProductChange = ChangedProduct.extend({
  intermediate: Intermediate,
  onHandDelta: Quantity.default(0),
  reservedDelta: Quantity.default(0),
})
export type ProductChange = z.infer<typeof ProductChange>

/** A change of one product's stock at one location. */
export const StockEvent = ChangedProduct.extend({
  intermediate: Intermediate,
  location: z.string(),
  onHandDelta: Quantity,
  reservedDelta: Quantity,
  reservationId: z.uuid().nullable(),
  reason: z.string().nullable(),
  reference: z.string().nullable(),
}).meta({ id: 'StockEvent' })
export type StockEvent = z.infer<typeof StockEvent>

/**
 * `stock.low`, `stock.out` or `stock.back`. `stock` is the product's stock at the time of the alert, which may follow further changes. `cause` is
 * the change that triggered the alert, with the quantity that was available after it.
 */
export const StockAlert = ChangedProduct.extend({
  sku: z.string(),
  lowStockThreshold: Quantity.nullable(),
  cause: z.object({ id: z.uuid(), version: Version, available: Quantity }).meta({ id: 'AlertCause' }),
}).meta({ id: 'StockAlert' })
export type StockAlert = z.infer<typeof StockAlert>
