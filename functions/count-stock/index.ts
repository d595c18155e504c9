import { httpFunction, ok } from '#function'
import { countStock } from '#stock'
import { CountRequest, CountResult } from '#stock/schema'

export default httpFunction({
  name: 'count-stock',
  route: 'POST /v1/stock/counts',
  tag: 'stock',
  scope: 'admin',
  summary: 'Set balances to what a stocktake has counted, all of them or none.',
  request: { body: CountRequest },
  responses: { 200: CountResult, 404: ['product_not_found', 'location_not_found'], 409: ['count_below_reserved'] },
  // Six attempts to lock the table, half a second each.
  limits: { inFlight: 16, timeoutMs: 15_000 },
  emits: ['stock.counted', 'stock.expired'],
  handler: async ({ body, context }) => ok(await countStock(body, context)),
})
