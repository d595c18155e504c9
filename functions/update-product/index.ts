import { httpFunction, ok, preconditionsOf } from '#function'
import { entityTag, updateProduct, versionCondition } from '#products'
import { Product, UpdateProductRequest } from '#products/schema'

export default httpFunction({
  name: 'update-product',
  route: 'PATCH /v1/products/{productId}',
  params: { productId: 'product' },
  tag: 'products',
  scope: 'products:write',
  summary: 'Change a product by JSON merge patch.',
  request: {
    body: UpdateProductRequest,
    contentTypes: ['application/merge-patch+json', 'application/json'],
  },
  responses: { 200: Product, 404: ['product_not_found'], 409: ['sku_taken'], 412: ['version_mismatch'] },
  sends: ['ETag'],
  emits: ['product.updated', 'stock.expired'],
  handler: async ({ params, headers, body, context }) => {
    const matches = versionCondition(preconditionsOf(headers))
    const versioned = await updateProduct(params.productId, body, matches, context)
    return ok(versioned.product, { etag: entityTag(versioned) })
  },
})
