import * as z from 'zod'

/** Every event type, and the topic that carries it. The key of each is the product's id, so one product's events keep their order. */
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
} as const
export type EventType = keyof typeof eventTypes

const Quantity = z.number().int()

/** A change of one product's stock at one location, with the product's stock over all locations after it. */
export const StockEvent = z
  .object({
    productId: z.uuid(),
    version: z.number().int().positive().describe('Counts the events of this product; +1 each time.'),
    location: z.string(),
    onHandDelta: Quantity,
    reservedDelta: Quantity,
    stock: z.object({ onHand: Quantity, reserved: Quantity, available: Quantity }),
    reservationId: z.uuid().nullable(),
    reason: z.string().nullable(),
    reference: z.string().nullable(),
  })
  .meta({ id: 'StockEvent' })
export type StockEvent = z.infer<typeof StockEvent>
