/** What is cached of a product is invalidated together: its fields, and its stock. */
export function cacheGroup(productId: string): string {
  return `product ${productId}`
}
