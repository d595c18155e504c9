import * as z from 'zod'

export const Audit = z
  .object({
    consistent: z.boolean(),
    checkedProducts: z.number().int().nonnegative(),
    discrepancies: z
      .array(
        z.object({
          productId: z.uuid(),
          location: z.string(),
          onHand: z.number().int(),
          reserved: z.number().int(),
          ledgerOnHand: z.number().int(),
          ledgerReserved: z.number().int(),
          heldReserved: z.number().int(),
        }),
      )
      .describe('The first 100.'),
  })
  .meta({ id: 'Audit' })
export type Audit = z.infer<typeof Audit>
