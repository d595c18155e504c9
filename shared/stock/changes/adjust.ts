import type * as z from 'zod'
import type { Decision, RequestContext } from '#database'
import { invalid, ServiceError } from '#errors'
import { changeStock } from '../groups/change-stock.ts'
import type { StockGroup } from '../groups/stock-group.ts'
import { type AdjustLine, type AdjustRequest, type AdjustStocksRequest, type Movement, ON_HAND_MAX } from '../schema.ts'

type Adjustment = z.infer<typeof AdjustRequest> & { productId: string; location: string }

/**
 * Changes the quantity on hand at one location (default `main`) by a signed quantity. Throws `product_not_found`, `location_not_found`,
 * `stale_quantity` if the quantity on hand is not the expected one, or `insufficient_stock` if the request takes away more than is available.
 */
export async function adjustStock(
  productId: string,
  request: z.infer<typeof AdjustRequest>,
  context: RequestContext,
): Promise<Movement> {
  const line = { ...request, productId }
  const decide = (group: StockGroup, by: RequestContext) => adjust(group, [line], by, () => 'quantity')
  const [movement] = await changeStock({ refersTo: { lines: [line] }, decide }, context)
  return movement as Movement
}

/**
 * Makes all of the adjustments, or none. Throws like `adjustStock`, with every stale and every short adjustment; also `validation_failed` if a
 * product and location occur twice.
 */
export function adjustStocks(
  { adjustments }: z.infer<typeof AdjustStocksRequest>,
  context: RequestContext,
): Promise<Movement[]> {
  const decide = (group: StockGroup, by: RequestContext) =>
    adjust(group, adjustments, by, (index) => `adjustments.${index}.quantity`)
  return changeStock({ refersTo: { lines: adjustments }, decide }, context)
}

/** `pathOf` returns the path of a line's quantity in the request. */
function adjust(
  group: StockGroup,
  lines: ReadonlyArray<Omit<z.infer<typeof AdjustLine>, 'sku'> & { sku?: string | undefined }>,
  context: RequestContext,
  pathOf: (index: number) => string,
): Decision<Movement[]> {
  for (const { location } of lines) group.requireLocation(location)
  const adjustments = lines.map((line) => ({
    ...line,
    productId: group.productIdOf(line),
    location: line.location ?? 'main',
  }))
  for (const { productId } of adjustments) group.stock.product(productId)
  requireDistinct(adjustments)
  requireExpected(group, adjustments)
  requireAvailable(group, adjustments)
  adjustments.forEach((adjustment, index) => {
    if (levelOf(group, adjustment).onHand + adjustment.quantity <= ON_HAND_MAX) return
    throw invalid(pathOf(index), `would leave more than ${ON_HAND_MAX} on hand at ${adjustment.location}`)
  })
  const movements = adjustments.map(({ productId, location, quantity, reason, reference, note }) =>
    group.stock.change(context, {
      productId,
      location,
      type: 'adjustment',
      onHandDelta: quantity,
      reservedDelta: 0,
      reason,
      reference: reference ?? undefined,
      note: note ?? undefined,
    }),
  )
  return { result: movements }
}

function levelOf({ stock }: StockGroup, { productId, location }: Adjustment): { onHand: number; reserved: number } {
  const { levels } = stock.product(productId)
  return levels.find((level) => level.location === location) ?? { onHand: 0, reserved: 0 }
}

function requireDistinct(adjustments: readonly Adjustment[]): void {
  const seen = new Set<string>()
  adjustments.forEach(({ productId, location }, index) => {
    const name = `${productId} ${location}`
    if (seen.has(name)) throw invalid(`adjustments.${index}`, `adjusts the same product at ${location} again`)
    seen.add(name)
  })
}

function requireExpected(group: StockGroup, adjustments: readonly Adjustment[]): void {
  const conflicts = adjustments.flatMap((adjustment) => {
    const { productId, location, expectedOnHand: expected } = adjustment
    const actual = levelOf(group, adjustment).onHand
    return expected === undefined || expected === actual ? [] : [{ productId, location, expected, actual }]
  })
  if (conflicts.length === 0) return
  const detail = 'What is on hand is not what this request expects; nothing was changed.'
  throw new ServiceError('stale_quantity', detail, { extra: { conflicts } })
}

function requireAvailable(group: StockGroup, adjustments: readonly Adjustment[]): void {
  const shortages = adjustments.flatMap((adjustment) => {
    const { productId, location, quantity } = adjustment
    const { onHand, reserved } = levelOf(group, adjustment)
    const available = onHand - reserved
    const { sku } = group.stock.product(productId)
    return available + quantity < 0 ? [{ productId, sku, location, requested: -quantity, available }] : []
  })
  if (shortages.length === 0) return
  const detail = 'There is not enough free stock to take away; nothing was changed.'
  throw new ServiceError('insufficient_stock', detail, { extra: { shortages } })
}
