import * as z from 'zod'

/** The most that one location can hold of a product. Balances are 32-bit integers, and this leaves a margin. */
export const ON_HAND_MAX = 2_000_000_000
export const QUANTITY_MAX = 1_000_000_000

export const Sku = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 of A-Z a-z 0-9 . _ -')
export const LocationCode = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 of A-Z a-z 0-9 . _ -')
export const Count = z.number().int().nonnegative()
export const Quantity = z.number().int().min(1).max(QUANTITY_MAX)

export const StockTotals = z.object({ onHand: Count, reserved: Count, available: Count }).meta({ id: 'StockTotals' })
export type StockTotals = z.infer<typeof StockTotals>
