import { httpFunction, noContent } from '#function'
import { deleteProduct } from '#products'

export default httpFunction({
  name: 'delete-product',
  route: 'DELETE /v1/products/{productId}',
  scope: 'products:write',
  summary: 'Take a product out of the catalogue.',
  responses: { 204: null, 404: ['product_not_found'], 409: ['has_held_reservations'] },
  handler: async ({ params, caller }) => {
    await deleteProduct(params.productId, caller)
    return noContent()
  },
})
