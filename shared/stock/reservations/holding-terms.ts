import type * as z from 'zod'
import type { RequestContext, Sql } from '#database'
import { invalid, ServiceError } from '#errors'
import type { LockedStock } from '../balances/locked-stock.ts'
import type { References } from '../groups/lookups.ts'
import type { ReserveRequest } from '../schema.ts'
import { mayTouch } from './ownership.ts'

type Request = z.infer<typeof ReserveRequest>

/** The quantity of a product that a holder holds by one line of a reservation. */
export interface HeldLine {
  reservationId: string
  holder: string
  productId: string
  quantity: number
  madeBy: string | null
}

/**
 * Reads what the changes' holders already hold of the products with a limit per holder, without overdue holds. These products are locked in
 * `stock`, so no other transaction adds holds to them. Sends no query if there is no such product.
 */
export async function findHeld(
  tx: Sql,
  stock: LockedStock,
  changes: ReadonlyArray<{ refersTo: References }>,
  idOfSku: ReadonlyMap<string, string>,
): Promise<HeldLine[]> {
  const pairs = new Map<string, { holder: string; productId: string }>()
  for (const { refersTo } of changes) {
    const { holder, lines = [] } = refersTo
    if (holder == null) continue
    for (const { productId, sku = '' } of lines) {
      const id = productId ?? idOfSku.get(sku) ?? ''
      if (isLimitedByHolder(stock, id)) pairs.set(`${id} ${holder}`, { holder, productId: id })
    }
  }
  if (pairs.size === 0) return []
  const asked = [...pairs.values()]
  const rows = await tx<HeldLine[]>`
    select reservation.id as "reservationId", asked.holder, asked.product_id as "productId", line.quantity,
           reservation.made_by as "madeBy"
    from unnest(${asked.map(({ holder }) => holder)}::text[], ${asked.map(({ productId }) => productId)}::uuid[])
      as asked (holder, product_id)
    cross join lateral (
      select id, made_by from reservations
      where holder = asked.holder and state = 'held' and expires_at > ${stock.lockedAt}
    ) as reservation
    join reservation_lines as line on line.reservation_id = reservation.id and line.product_id = asked.product_id`
  return rows.filter(({ reservationId }) => !stock.expiredIds.includes(reservationId))
}

export function isLimitedByHolder(stock: LockedStock, productId: string): boolean {
  return stock.has(productId) && stock.product(productId).terms?.perHolder != null
}

/**
 * The error if a product's terms forbid a request: the product is archived, needs a holder, or a limit is exceeded; undefined if they allow it.
 * `held` returns the quantity already held, without the holds that the request replaces. Throws `product_not_found`.
 */
export function refusalByTerms(
  stock: LockedStock,
  { lines, holder }: Request,
  productIds: readonly string[],
  held: (productId: string) => number,
): ServiceError | undefined {
  // Nearly all requests end here.
  if (productIds.every((id) => stock.product(id).terms === null)) return undefined
  const wanted = new Map<string, number>()
  lines.forEach(({ quantity }, index) => {
    const id = productIds[index] as string
    if (stock.product(id).terms) wanted.set(id, quantity + (wanted.get(id) ?? 0))
  })
  const products = [...wanted].map(([id, quantity]) => ({ ...stock.product(id), quantity }))
  const archived = products.find(({ terms }) => terms?.isArchived)
  if (archived) {
    return new ServiceError('product_archived', `${archived.sku} is archived: it can't be reserved any more.`)
  }
  const limited = products.find(({ terms }) => terms?.perHolder != null)
  if (limited && holder == null) return invalid('holder', `is needed, since ${limited.sku} has a limit for each holder`)
  const limits = products.flatMap(({ id: productId, terms, quantity: requested }) => {
    const all = [
      { productId, limit: 'perReservation', max: terms?.perReservation ?? Infinity, held: 0, requested },
      { productId, limit: 'perHolder', max: terms?.perHolder ?? Infinity, held: held(productId), requested },
    ] as const
    return all.filter(({ max, held: before }) => before + requested > max)
  })
  if (limits.length === 0) return undefined
  const detail = 'This is more than may be held of a product; nothing was held.'
  return new ServiceError('limit_exceeded', detail, { extra: { limits } })
}

/** How much of a product a holder holds, in holds that the request may see, without the `replaced` holds. */
export function sumHeld(
  held: readonly HeldLine[],
  holder: string | null | undefined,
  productId: string,
  context: RequestContext,
  replaced: ReadonlyArray<{ row: { id: string } }>,
): number {
  return held
    .filter((line) => line.holder === holder && line.productId === productId && mayTouch(context, line))
    .filter(({ reservationId }) => !replaced.some(({ row }) => row.id === reservationId))
    .reduce((sum, { quantity }) => sum + quantity, 0)
}
