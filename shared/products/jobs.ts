import { runner } from '#jobs'
import { ImportPayload } from './import-payload.ts'
import { importProducts } from './import-products.ts'

export const productJobs = {
  'import-products': runner(ImportPayload, importProducts),
}
