import { created, httpFunction } from '#function'
import { createProduct, entityTag } from '#products'
import { CreateProductRequest, Product } from '#products/schema'

export default httpFunction({
  name: 'create-product',
  route: 'POST /v1/products',
  tag: 'products',
  scope: 'products:write',
  summary: 'Add a product to the catalogue.',
  request: { body: CreateProductRequest },
  responses: { 201: Product, 409: ['sku_taken'] },
  sends: ['ETag'],
  emits: ['product.created', 'stock.adjusted'],
  handler: async ({ body, context }) => {
    const versioned = await createProduct(body, context)
    const { product } = versioned
    return created(`/v1/products/${product.id}`, product, { etag: entityTag(versioned) })
  },
})
