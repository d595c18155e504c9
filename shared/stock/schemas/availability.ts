import * as z from 'zod'
import { exactlyOne } from '#input'
import { Count, LocationCode, Quantity, Sku, StockTotals } from './fields.ts'

const location = LocationCode.optional().describe('Asks for the stock at this location alone.')

const AvailabilityLine = exactlyOne(
  z.strictObject({
    productId: z.string().optional().describe('The id of the product. One that can’t be an id names no product.'),
    sku: Sku.optional(),
    quantity: Quantity.optional().describe('Asks for `fulfillable`.'),
    location,
  }),
  'productId',
  'sku',
).meta({ id: 'AvailabilityLine' })

export const AvailabilityRequest = z.strictObject({
  items: z.array(AvailabilityLine).min(1).max(500).describe('Products, each by its id or its sku.'),
})

const Availability = z
  .object({
    productId: z.uuid(),
    sku: z.string(),
    location: LocationCode.optional().describe('There if it was asked for: what follows is the stock there.'),
    ...StockTotals.shape,
    version: Count.describe('The number of the product’s last event.'),
    fulfillable: z
      .boolean()
      .optional()
      .describe(
        'There if a `quantity` was asked for: whether a reservation of so much would be held. One location must have all of it. It is ' +
          'false for an archived product and beyond a limit; a limit per holder is taken as for a holder who holds none yet.',
      ),
  })
  .meta({ id: 'Availability' })

export const AvailabilityResult = z
  .object({
    items: z.array(Availability).describe('One for each item that names a product, in the order asked.'),
    notFound: z.array(z.string()).describe('The id or sku of each item that names no product, in the order asked.'),
  })
  .meta({ id: 'AvailabilityResult' })
export type AvailabilityResult = z.infer<typeof AvailabilityResult>
