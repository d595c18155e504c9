import { httpFunction } from '#function'
import { adjustStocks } from '#stock'
import { AdjustStocksRequest, AdjustStocksResult } from '#stock/schema'

export default httpFunction({
  name: 'adjust-stocks',
  route: 'POST /v1/stock/adjustments',
  tag: 'stock',
  scope: 'stock:write',
  summary: 'Adjust the stock of many products, all of them or none.',
  request: { body: AdjustStocksRequest },
  responses: {
    201: AdjustStocksResult,
    404: ['product_not_found', 'location_not_found'],
    409: ['stale_quantity', 'insufficient_stock'],
  },
  emits: ['stock.adjusted', 'stock.expired'],
  handler: async ({ body, context }) => {
    const items = await adjustStocks(body, context)
    return { status: 201, body: { items } }
  },
})
