import { StockEvent, stockChanges } from '#events'
import { streamFunction } from '#function'
import { detectAlert } from '#stock'

const name = 'detect-low-stock'

export default streamFunction({
  name,
  topic: 'stock-events',
  // Not its own alerts, which go to the same topic.
  types: stockChanges,
  summary: 'Tell when a product runs low, runs out, or is back.',
  data: StockEvent,
  handler: async ({ attributes, data, caller }) => ({
    alert: (await detectAlert(data, attributes.id, name, caller)) ?? null,
  }),
})
