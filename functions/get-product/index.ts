import { httpFunction, ok } from '#function'
import { entityTag, getProduct, isNotModified, requireMatch } from '#products'
import { Product } from '#products/schema'

export default httpFunction({
  name: 'get-product',
  route: 'GET /v1/products/{productId}',
  params: { productId: 'product' },
  tag: 'products',
  scope: 'products:read',
  summary: 'Read a product with its stock.',
  responses: { 200: Product, 304: null, 404: ['product_not_found'], 412: ['version_mismatch'] },
  sends: ['ETag'],
  handler: async ({ params, headers, context }) => {
    const versioned = await getProduct(params.productId, context)
    const etag = entityTag(versioned)
    requireMatch(headers.get('if-match'), versioned)
    if (isNotModified(headers.get('if-none-match'), etag)) return { status: 304, headers: { etag } }
    return ok(versioned.product, { etag })
  },
})
