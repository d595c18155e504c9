import { httpFunction, ok } from '#function'
import { getStock, getStockAt } from '#stock'
import { ProductStock, StockQuery } from '#stock/schema'

export default httpFunction({
  name: 'get-stock',
  route: 'GET /v1/products/{productId}/stock',
  params: { productId: 'product' },
  tag: 'stock',
  scope: 'stock:read',
  summary: 'Read a product’s stock, over all and at each location, now or at a past moment.',
  request: { query: StockQuery },
  responses: { 200: ProductStock, 404: ['product_not_found'] },
  handler: async ({ params: { productId }, query: { at }, context }) =>
    ok(at === undefined ? await getStock(productId, context) : await getStockAt(productId, at, context)),
})
