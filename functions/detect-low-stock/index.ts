import { streamFunction } from '#function'
import { detectAlert } from '#stock'
import { ProductChange, stockChanges } from '#stock/events'

const name = 'detect-low-stock'

export default streamFunction({
  name,
  topics: ['stock-events', 'product-events'],
  // Not its own alerts, which go to the same topic. A product that is updated may have another threshold.
  types: [...stockChanges, 'product.updated'],
  summary: 'Publish low-stock, out-of-stock and back-in-stock alerts.',
  data: ProductChange,
  emits: ['stock.low', 'stock.out', 'stock.back', 'stock.expired'],
  handler: async ({ attributes, data, context }) => ({
    alert: (await detectAlert(data, attributes.id, name, context)) ?? null,
  }),
})
