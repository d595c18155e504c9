import type { EventType } from '../../shared/events/event-types.ts'

const productId = '019a0c3e-7b10-7c3a-9d52-5f0e8a4b1c77'
const reservationId = '019a0c41-22f4-7e06-b1c8-3d9a6e5f0b12'
const sku = 'TEA-POT'

const stock = (onHand: number, reserved: number) => ({ onHand, reserved, available: onHand - reserved })

/** The life of one product: ten pieces arrive, and some are held, sold, released and lost. It runs low, is out of stock, and is back. */
const product = {
  id: productId,
  sku,
  name: 'Tea pot, 1.2 l',
  description: null,
  price: { amount: 2490, currency: 'EUR' },
  attributes: { colour: 'white' },
  status: 'active',
  lowStockThreshold: 3,
  version: 1,
  createdAt: '2026-03-02T09:15:00.000Z',
  updatedAt: '2026-03-02T09:15:00.000Z',
}

const change = { productId, location: 'main', reservationId: null, reason: null, reference: null }
const hold = { ...change, reservationId, reference: 'cart-7', onHandDelta: 0 }
const cause = { id: '019a0c44-90ab-7d21-8e4f-6c2b7a1d3e55', version: 5, available: 3 }
const alert = { productId, sku, lowStockThreshold: 3 }

/** The data of an event of each type. */
export const examples: Record<EventType, object> = {
  'product.created': { productId, version: 1, stock: stock(0, 0), product },
  'product.updated': {
    productId,
    version: 12,
    stock: stock(4, 0),
    product: { ...product, name: 'Tea pot', version: 2 },
  },
  'product.deleted': { productId, version: 12, stock: stock(20, 0), sku },
  'stock.adjusted': {
    ...change,
    version: 2,
    stock: stock(10, 0),
    onHandDelta: 10,
    reservedDelta: 0,
    reason: 'received',
    reference: 'delivery-114',
  },
  'stock.reserved': { ...hold, version: 3, stock: stock(10, 7), reservedDelta: 7 },
  'stock.released': { ...hold, version: 4, stock: stock(10, 0), reservedDelta: -7 },
  'stock.expired': { ...hold, version: 4, stock: stock(10, 0), reservedDelta: -7 },
  'stock.confirmed': { ...hold, version: 5, stock: stock(3, 0), onHandDelta: -7, reservedDelta: -7 },
  'stock.counted': { ...change, version: 7, stock: stock(0, 0), onHandDelta: -3, reservedDelta: 0 },
  'stock.low': { ...alert, version: 6, stock: stock(3, 0), cause },
  'stock.out': { ...alert, version: 8, stock: stock(0, 0), cause: { ...cause, version: 7, available: 0 } },
  'stock.back': { ...alert, version: 10, stock: stock(20, 0), cause: { ...cause, version: 9, available: 20 } },
}

/** The headers of such an event. */
export function exampleHeaders(type: EventType, topic: string): Record<string, string> {
  const { version } = examples[type] as { version: number }
  return {
    ce_specversion: '1.0',
    ce_id: '019a0c45-0d1e-7a83-93f6-1b4c8d2e7f60',
    ce_source: `/topics/${topic}`,
    ce_type: type,
    ce_subject: productId,
    ce_time: '2026-03-02T09:20:31.482Z',
    ce_version: String(version),
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  }
}
