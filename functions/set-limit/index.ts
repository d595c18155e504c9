import { httpFunction, ok } from '#function'
import { setLimit } from '#stock'
import { ProductLimits, SetLimitRequest } from '#stock/schema'

export default httpFunction({
  name: 'set-limit',
  route: 'PUT /v1/products/{productId}/limit',
  params: { productId: 'product' },
  tag: 'stock',
  scope: 'stock:write',
  summary: 'Limit how much of a product one reservation, or one holder, may hold.',
  request: { body: SetLimitRequest },
  responses: { 200: ProductLimits, 404: ['product_not_found'] },
  emits: ['stock.expired'],
  handler: async ({ params, body, context }) => ok(await setLimit(params.productId, body, context)),
})
