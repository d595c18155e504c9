import { httpFunction, ok, pageOf, pageQuery } from '#function'
import { listMovements } from '#stock'
import { Movement } from '#stock/schema'

export default httpFunction({
  name: 'list-movements',
  route: 'GET /v1/products/{productId}/stock/movements',
  params: { productId: 'product' },
  tag: 'stock',
  scope: 'stock:read',
  summary: 'Page through a product’s ledger, newest first.',
  request: { query: pageQuery() },
  responses: { 200: pageOf(Movement), 404: ['product_not_found'] },
  handler: async ({ params, query, context }) => ok(await listMovements(params.productId, query, context)),
})
