import { streamFunction } from '#function'
import { detectAlerts } from '#stock'
import { ProductChange, stockChanges } from '#stock/events'

const name = 'detect-low-stock'

export default streamFunction({
  name,
  topics: ['stock-events', 'product-events'],
  // Without its own alerts, which go to the same topic. An updated product may have another threshold.
  types: [...stockChanges, 'product.updated'],
  summary: 'Publish low-stock, out-of-stock and back-in-stock alerts.',
  data: ProductChange,
  emits: ['stock.low', 'stock.out', 'stock.back', 'stock.expired'],
  batch: { max: 500, waitMs: 20 },
  handler: async (events) => {
    const changes = events.map(({ attributes, data, context }) => ({ change: data, eventId: attributes.id, context }))
    const results = await detectAlerts(changes, name)
    return results.map((result) =>
      result.status === 'rejected' ? result : { ...result, value: { alert: result.value ?? null } },
    )
  },
})
