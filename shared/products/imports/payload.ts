import * as z from 'zod'
import { resultFormats } from '#jobs/schema'

/** The payload of `import-products`: the declared format of the file. */
export const ImportPayload = z.strictObject({
  format: z.enum(resultFormats),
  /** The shop whose export the file is. */
  shop: z.strictObject({ name: z.enum(['shopify', 'woocommerce']), currency: z.string() }).optional(),
})
export type ImportPayload = z.infer<typeof ImportPayload>
