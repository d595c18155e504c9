import * as z from 'zod'

/** Every event type, and the topic that carries it. Events are keyed by product, so one product's events keep their order. */
export const eventTypes = {
  'product.created': 'product-events',
  'product.updated': 'product-events',
  'product.deleted': 'product-events',
  'stock.adjusted': 'stock-events',
  'stock.reserved': 'stock-events',
  'stock.released': 'stock-events',
  'stock.expired': 'stock-events',
  'stock.confirmed': 'stock-events',
  'stock.counted': 'stock-events',
  'stock.low': 'stock-events',
  'stock.out': 'stock-events',
  'stock.back': 'stock-events',
} as const
export type EventType = keyof typeof eventTypes

/** The events of a change of stock. */
export const stockChanges = [
  'stock.adjusted',
  'stock.reserved',
  'stock.released',
  'stock.expired',
  'stock.confirmed',
  'stock.counted',
] as const satisfies readonly EventType[]

const Quantity = z.number().int()
const Version = z.number().int().positive().describe('Counts the events of this product; +1 each time.')
const Stock = z.object({ onHand: Quantity, reserved: Quantity, available: Quantity }).meta({ id: 'StockAfter' })

/** Marks stock that no reader ever saw: of several changes in one transaction, only the last leaves its stock behind. */
export const Intermediate = z
  .literal(true)
  .optional()
  .describe(
    'Another change of the product’s stock followed in the same transaction: `stock` was never there for anyone.',
  )

/** The members of every event: its product, and the product's stock over all locations after it. */
const ProductEvent = z.object({ productId: z.uuid(), version: Version, stock: Stock })

/** What changes of a product and of its stock have in common. A change of the product alone moves no stock. */
export const ProductChange = ProductEvent.extend({
  intermediate: Intermediate,
  onHandDelta: Quantity.default(0),
  reservedDelta: Quantity.default(0),
})
export type ProductChange = z.infer<typeof ProductChange>

/** A change of one product's stock at one location. */
export const StockEvent = ProductEvent.extend({
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
 * `stock.low`, `stock.out` or `stock.back`. `stock` is the product's stock at the alert, which may come after further changes. `cause`
 * is the change that the alert is about, with the availability that it left.
 */
export const StockAlert = ProductEvent.extend({
  sku: z.string(),
  lowStockThreshold: Quantity.nullable(),
  cause: z.object({ id: z.uuid(), version: Version, available: Quantity }).meta({ id: 'AlertCause' }),
}).meta({ id: 'StockAlert' })
export type StockAlert = z.infer<typeof StockAlert>
