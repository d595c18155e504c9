import * as z from 'zod'

const Limit = z.number().int().min(1).nullable()

export const SetLimitRequest = z.strictObject({
  perReservation: Limit.optional().describe('What one reservation may hold of the product; null: as much as there is.'),
  perHolder: Limit.optional().describe(
    'What one holder may hold of it at a time. A reservation of it then needs a `holder`.',
  ),
})

export const ProductLimits = z.object({ perReservation: Limit, perHolder: Limit }).meta({ id: 'ProductLimits' })
export type ProductLimits = z.infer<typeof ProductLimits>
