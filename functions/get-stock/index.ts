import { httpFunction, ok } from '#function'
import { getStock } from '#stock'
import { ProductStock } from '#stock/schema'

export default httpFunction({
  name: 'get-stock',
  route: 'GET /v1/products/{productId}/stock',
  params: { productId: 'product' },
  tag: 'stock',
  scope: 'stock:read',
  summary: 'Read a product’s stock, over all and at each location.',
  responses: { 200: ProductStock, 404: ['product_not_found'] },
  handler: async ({ params, context }) => ok(await getStock(params.productId, context)),
})
