/** A product's fields and its stock are invalidated together. */
export function cacheGroup(productId: string): string {
  return `product ${productId}`
}
