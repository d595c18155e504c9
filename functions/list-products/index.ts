import { httpFunction, ok, pageOf, pageQuery } from '#function'
import { listProducts } from '#products'
import { Product, ProductFilter } from '#products/schema'

export default httpFunction({
  name: 'list-products',
  route: 'GET /v1/products',
  tag: 'products',
  scope: 'products:read',
  summary: 'Page through the catalogue, filtered and sorted.',
  request: { query: pageQuery(ProductFilter) },
  responses: { 200: pageOf(Product) },
  handler: async ({ query, context }) => ok(await listProducts(query, context)),
})
