import * as z from 'zod'
import type { ErrorCode } from './codes.ts'

const Count = z.number().int().nonnegative()

/** One thing that is wrong with the input: its place (`lines.0.quantity`) and what to do about it. */
const Issue = z.object({ path: z.string(), message: z.string() }).meta({ id: 'Issue' })

const Shortage = z
  .object({
    productId: z.uuid(),
    sku: z.string(),
    requested: z.number().int().positive().describe('What was asked for in all.'),
    available: Count.describe('What is free.'),
    location: z.string().optional().describe('Where it is short; of a reservation that is any location.'),
  })
  .meta({ id: 'Shortage' })

const StaleExpectation = z
  .object({
    productId: z.uuid(),
    location: z.string(),
    expected: Count.describe('What the request expects to be on hand.'),
    actual: Count.describe('What is on hand.'),
  })
  .meta({ id: 'StaleExpectation' })

const PassedLimit = z
  .object({
    productId: z.uuid(),
    limit: z.enum(['perReservation', 'perHolder']),
    max: z.number().int().positive(),
    held: Count.describe('What the holder holds already, but for what this would replace; 0 for `perReservation`.'),
    requested: z.number().int().positive().describe('What was asked for in all.'),
  })
  .meta({ id: 'PassedLimit' })

const ShortCount = z
  .object({
    productId: z.uuid(),
    sku: z.string(),
    location: z.string(),
    counted: Count,
    reserved: Count.describe('What reservations hold.'),
  })
  .meta({ id: 'ShortCount' })

/**
 * For each code, the members that its problem documents have in addition to the common ones. The types of ServiceError and the published
 * description are derived from this. No function's bundle contains it, since functions import only its types.
 */
export const problemMembers = {
  insufficient_stock: z.object({ shortages: z.array(Shortage).describe('Every line that is short.') }),
  limit_exceeded: z.object({ limits: z.array(PassedLimit).describe('Every limit that would be passed.') }),
  count_below_reserved: z.object({ short: z.array(ShortCount).describe('Every count that is too low.') }),
  stale_quantity: z.object({
    conflicts: z.array(StaleExpectation).describe('Every quantity that is another than expected.'),
  }),
  validation_failed: z.object({ errors: z.array(Issue).describe('What is wrong with the input, the first 100.') }),
  idempotency_key_reused: z.object({ errors: z.array(Issue).describe('That it is the key.') }),
  not_ready: z.object({ failing: z.record(z.string(), z.string()).describe('Why, by the part that fails.') }),
} satisfies Partial<Record<ErrorCode, z.ZodObject>>
type Members = { [Code in keyof typeof problemMembers]: z.infer<(typeof problemMembers)[Code]> }

export type MemberCode = keyof Members
/** The members of a code, except for `errors`, which are passed as issues. */
export type ExtraOf<Code extends MemberCode> = Omit<Members[Code], 'errors'>
export type Issue = z.infer<typeof Issue>
