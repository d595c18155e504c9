import * as z from 'zod'
import { exactlyOne, lineOfText, linesOfText } from '#input'
import { Count, LocationCode, ON_HAND_MAX, QUANTITY_MAX, Quantity, Sku, StockTotals } from './schemas/fields.ts'

export { ExportPayload, VerifyPayload } from './job-payloads.ts'
export { Audit } from './schemas/audit.ts'
export { AvailabilityRequest, AvailabilityResult } from './schemas/availability.ts'
export { LocationCode, ON_HAND_MAX, QUANTITY_MAX, Sku, StockTotals } from './schemas/fields.ts'
export { ProductLimits, SetLimitRequest } from './schemas/limit.ts'

const label = lineOfText(200).min(1)

/** The quantities of a product's lines are summed, and one location serves the whole sum. */
const HeldQuantity = z.number().int().min(1).max(ON_HAND_MAX)

export const ProductStock = z
  .object({
    productId: z.uuid(),
    at: z.iso
      .datetime({ offset: true })
      .optional()
      .describe('There if the stock of a moment was asked for: that moment.'),
    ...StockTotals.shape,
    locations: z.array(z.object({ location: LocationCode, ...StockTotals.shape })),
  })
  .meta({ id: 'ProductStock' })
export type ProductStock = z.infer<typeof ProductStock>

export const StockQuery = z.strictObject({
  at: z.iso
    .datetime({ offset: true, error: 'must be a time of RFC 3339, such as 2026-03-02T09:15:00Z' })
    .optional()
    .describe(
      'A past moment: the answer has the balances after the last movement until then. A hold counts until it is swept.',
    ),
})

export const Location = z
  .object({
    code: LocationCode,
    name: z.string(),
    priority: z.number().int().describe('The lower, the earlier it serves a line that names no location.'),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Location' })
export type Location = z.infer<typeof Location>

export const CreateLocationRequest = z.strictObject({
  code: LocationCode,
  name: label,
  priority: z.number().int().min(-1_000_000).max(1_000_000),
})

export const AdjustRequest = z.strictObject({
  quantity: z
    .number()
    .int()
    .min(-QUANTITY_MAX)
    .max(QUANTITY_MAX)
    .refine((quantity) => quantity !== 0, 'must not be 0')
    .meta({ not: { const: 0 } }),
  reason: z.enum(['received', 'returned', 'damaged', 'lost', 'correction']),
  location: LocationCode.optional(),
  expectedOnHand: Count.max(ON_HAND_MAX).optional().describe('What is on hand there now, or nothing is changed.'),
  reference: label.nullish(),
  note: linesOfText(2_000).nullish(),
})

export const AdjustLine = exactlyOne(
  AdjustRequest.extend({ productId: z.guid().toLowerCase().optional(), sku: Sku.optional() }),
  'productId',
  'sku',
).meta({ id: 'AdjustLine' })

export const AdjustStocksRequest = z.strictObject({
  adjustments: z.array(AdjustLine).min(1).max(500).describe('Each product at most once at a location.'),
})

export const movementTypes = ['adjustment', 'reserved', 'released', 'expired', 'confirmed', 'count'] as const

export const Movement = z
  .object({
    id: z.uuid(),
    productId: z.uuid(),
    location: LocationCode,
    type: z.enum(movementTypes),
    onHandDelta: z.number().int(),
    reservedDelta: z.number().int(),
    onHandAfter: Count,
    reservedAfter: Count,
    reason: z.string().nullable(),
    reference: z.string().nullable(),
    note: z.string().nullable(),
    reservationId: z.uuid().nullable(),
    actor: z.string(),
    occurredAt: z.iso.datetime(),
  })
  .meta({ id: 'Movement' })
export type Movement = z.infer<typeof Movement>

export const AdjustStocksResult = z
  .object({ items: z.array(Movement).describe('In the order of the request.') })
  .meta({ id: 'AdjustStocksResult' })

export const reservationStates = ['held', 'confirmed', 'released', 'expired'] as const
export type ReservationState = (typeof reservationStates)[number]

const ReservationLine = z.object({
  productId: z.uuid(),
  sku: z.string(),
  location: LocationCode,
  quantity: HeldQuantity,
  confirmedQuantity: Count,
})

export const Reservation = z
  .object({
    id: z.uuid(),
    state: z.enum(reservationStates),
    lines: z.array(ReservationLine),
    reference: z.string().nullable(),
    holder: z.string().nullable(),
    expiresAt: z.iso.datetime(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Reservation' })
export type Reservation = z.infer<typeof Reservation>

const TtlSeconds = z.number().int().min(5).max(86_400)

const ReserveLine = exactlyOne(
  z.strictObject({
    productId: z.guid().toLowerCase().optional(),
    sku: Sku.optional(),
    quantity: Quantity,
    location: LocationCode.optional(),
  }),
  'productId',
  'sku',
).meta({ id: 'ReserveLine' })

export const ReserveRequest = z.strictObject({
  lines: z.array(ReserveLine).min(1).max(100),
  reference: label.nullish(),
  holder: label.nullish(),
  ttlSeconds: TtlSeconds.default(900),
})

export const ExtendRequest = z.strictObject({ ttlSeconds: TtlSeconds })

const ConfirmLine = z
  .strictObject({ productId: z.guid().toLowerCase(), quantity: HeldQuantity })
  .meta({ id: 'ConfirmLine' })

export const ConfirmRequest = z.strictObject({
  lines: z.array(ConfirmLine).min(1).max(100).optional().describe('Less than is held; the rest is released.'),
})

export const ReservationFilter = z.strictObject({
  reference: z.string().max(200).optional(),
  holder: z.string().max(200).optional(),
  state: z.enum(reservationStates).optional(),
  productId: z.guid().toLowerCase().optional(),
})

const CountLine = exactlyOne(
  z.strictObject({
    productId: z.guid().toLowerCase().optional(),
    sku: Sku.optional(),
    location: LocationCode.optional(),
    counted: z.number().int().min(0).max(ON_HAND_MAX),
  }),
  'productId',
  'sku',
).meta({ id: 'CountLine' })

export const CountRequest = z.strictObject({
  counts: z.array(CountLine).min(1).max(1_000),
})

export const CountResult = z
  .object({
    counts: z.array(
      z.object({
        productId: z.uuid(),
        location: LocationCode,
        before: Count,
        counted: Count,
        variance: z.number().int(),
      }),
    ),
  })
  .meta({ id: 'CountResult' })
export type CountResult = z.infer<typeof CountResult>
