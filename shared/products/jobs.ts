import { runner } from '#jobs'
import { importProducts } from './imports/import-products.ts'
import { ImportPayload } from './imports/payload.ts'

export const productJobs = {
  'import-products': runner(ImportPayload, importProducts),
}
