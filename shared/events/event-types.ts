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
