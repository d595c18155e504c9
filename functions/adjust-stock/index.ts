import { created, httpFunction } from '#function'
import { adjustStock } from '#stock'
import { AdjustRequest, Movement } from '#stock/schema'

export default httpFunction({
  name: 'adjust-stock',
  route: 'POST /v1/products/{productId}/stock/adjustments',
  params: { productId: 'product' },
  tag: 'stock',
  scope: 'stock:write',
  summary: 'Receive, return or write off stock at one location.',
  request: { body: AdjustRequest },
  responses: {
    201: Movement,
    404: ['product_not_found', 'location_not_found'],
    409: ['stale_quantity', 'insufficient_stock'],
  },
  emits: ['stock.adjusted', 'stock.expired'],
  handler: async ({ params, body, context }) => {
    const movement = await adjustStock(params.productId, body, context)
    return created(`/v1/products/${movement.productId}/stock/movements`, movement)
  },
})
