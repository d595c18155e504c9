import { httpFunction, noContent, preconditionsOf } from '#function'
import { deleteProduct, versionCondition } from '#products'

export default httpFunction({
  name: 'delete-product',
  route: 'DELETE /v1/products/{productId}',
  params: { productId: 'product' },
  tag: 'products',
  scope: 'products:write',
  summary: 'Take a product out of the catalogue.',
  responses: { 204: null, 404: ['product_not_found'], 409: ['has_held_reservations'], 412: ['version_mismatch'] },
  emits: ['product.deleted', 'stock.expired'],
  handler: async ({ params, headers, context }) => {
    await deleteProduct(params.productId, versionCondition(preconditionsOf(headers)), context)
    return noContent()
  },
})
