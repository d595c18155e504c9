import { primary, systemContext } from '#database'
import { ServiceError } from '#errors'
import { createProduct } from '#products'
import { demoCatalogue } from './demo-catalogue.ts'

/**
 * Fills an empty shop with the demo catalogue, through the same code as a request. The last product marks the work as done. So if a start
 * is killed in the middle, the next one completes the catalogue, and products that were deleted since stay deleted.
 */
export async function seedCatalogue(progress: (line: string) => void): Promise<void> {
  const last = demoCatalogue.at(-1)
  const done = await primary()`select 1 from products where sku = ${last?.sku ?? ''} limit 1`
  if (done.length > 0) return
  progress(`filling the shop with ${demoCatalogue.length} demo products`)
  for (const product of demoCatalogue) {
    await createProduct(product, systemContext('function:seed')).catch((error: unknown) => {
      if (!(error instanceof ServiceError && error.code === 'sku_taken')) throw error
    })
  }
}
