import { v7 as uuidv7 } from 'uuid'
import type * as z from 'zod'
import type { Caller, Sql } from '#database'
import { ServiceError } from '#errors'
import type { Book } from './book.ts'
import { bookTransaction } from './book-transaction.ts'
import { requireLocations } from './locations.ts'
import { type LineRow, linesOf, lockReservations, setState } from './reservation-rows.ts'
import type { Reservation, ReserveRequest } from './schema.ts'

type Request = z.infer<typeof ReserveRequest>

/** What is wanted of one product, at one location or wherever it can be had whole. */
interface Demand {
  productId: string
  quantity: number
  location: string | undefined
}

/**
 * Holds stock for every line, or for none. A held reservation with the same holder and reference is replaced: what it
 * holds counts as free. Throws `product_not_found`, `location_not_found`, or `insufficient_stock` with every short line.
 */
export function reserve(request: Request, caller: Caller): Promise<Reservation> {
  return bookTransaction(caller, async (tx, open) => {
    const [productIds, replaced] = await Promise.all([
      resolveProducts(tx, request.lines),
      findReplaced(tx, request),
      requireLocations(
        tx,
        request.lines.flatMap(({ location }) => location ?? []),
      ),
    ])
    const replacedLines = await linesOf(tx, replaced)
    const book = await open([...productIds, ...replacedLines.map((line) => line.productId)])
    await release(tx, caller, book, replaced, replacedLines)
    const lines = allocate(book, sumDemands(request.lines, productIds))
    const reservation = await insertReservation(tx, request, lines)
    for (const { productId, location, quantity } of lines) {
      const change = { productId, location, type: 'reserved', onHandDelta: 0, reservedDelta: quantity } as const
      book.change(caller, { ...change, reservationId: reservation.id, reference: request.reference ?? undefined })
    }
    await book.save()
    return reservation
  })
}

/** The product of each line, by id or by sku. An id is taken as it is: opening the book tells whether it exists. */
async function resolveProducts(tx: Sql, lines: Request['lines']): Promise<string[]> {
  const skus = lines.flatMap(({ sku }) => sku ?? [])
  const rows =
    skus.length === 0
      ? []
      : await tx<Array<{ id: string; sku: string }>>`
          select id, sku from products where sku = any(${skus}::text[]) and deleted_at is null`
  const idOf = new Map(rows.map(({ id, sku }) => [sku, id]))
  return lines.map(({ productId, sku = '' }) => {
    const id = productId ?? idOf.get(sku)
    if (id === undefined) throw new ServiceError('product_not_found', `There is no product with the sku '${sku}'.`)
    return id
  })
}

/**
 * The held reservation that the request replaces. Twins pass here one at a time, before any product is locked: each sees,
 * in the second statement's snapshot, the hold of the twin before it, so nobody is short of stock because of their own hold.
 */
async function findReplaced(tx: Sql, { holder, reference }: Request): Promise<string[]> {
  if (holder == null || reference == null) return []
  const [, rows] = await Promise.all([
    tx`select pg_advisory_xact_lock(hashtext(${holder}), hashtext(${reference}))`,
    tx<Array<{ id: string }>>`
      select id from reservations where state = 'held' and holder = ${holder} and reference = ${reference}`,
  ])
  return rows.map((row) => row.id)
}

async function release(tx: Sql, caller: Caller, book: Book, ids: string[], lines: LineRow[]): Promise<void> {
  if (ids.length === 0) return
  const locked = await lockReservations(tx, ids)
  // Overdue, it has just been ended as expired by the opening of the book.
  const held = locked.filter(({ state }) => state === 'held').map(({ id }) => id)
  for (const { reservationId, productId, location, quantity } of lines) {
    if (!held.includes(reservationId)) continue
    book.change(caller, {
      productId,
      location,
      type: 'released',
      onHandDelta: 0,
      reservedDelta: -quantity,
      reservationId,
    })
  }
  await setState(tx, held, 'released')
}

/** Lines of one product and location are one demand. Demands with a location come first: the others can go elsewhere. */
function sumDemands(lines: Request['lines'], productIds: string[]): Demand[] {
  const demands = new Map<string, Demand>()
  lines.forEach(({ quantity, location }, index) => {
    const productId = productIds[index] as string
    const key = `${productId} ${location ?? ''}`
    const demand = demands.get(key)
    demands.set(key, { productId, location, quantity: quantity + (demand?.quantity ?? 0) })
  })
  return [...demands.values()].sort((a, b) => Number(b.location !== undefined) - Number(a.location !== undefined))
}

type Line = Omit<LineRow, 'reservationId' | 'confirmedQuantity'>

/** Where each demand is served from. Throws `insufficient_stock` that lists every demand that can't be served. */
function allocate(book: Book, demands: Demand[]): Line[] {
  const taken = new Map<string, number>()
  const shortages: object[] = []
  const lines = demands.flatMap(({ productId, quantity, location }) => {
    const { sku, levels } = book.product(productId)
    const free = levels
      .filter((level) => location === undefined || level.location === location)
      .map((level) => {
        const key = `${productId} ${level.location}`
        return { key, location: level.location, available: level.onHand - level.reserved - (taken.get(key) ?? 0) }
      })
    const source = free.find(({ available }) => available >= quantity)
    if (!source) {
      const available = Math.max(0, ...free.map((level) => level.available))
      shortages.push({ productId, sku, requested: quantity, available })
      return []
    }
    taken.set(source.key, quantity + (taken.get(source.key) ?? 0))
    return [{ productId, sku, location: source.location, quantity }]
  })
  if (shortages.length > 0) {
    throw new ServiceError('insufficient_stock', 'There is not enough stock; nothing was held.', {
      extra: { shortages },
    })
  }
  return lines
}

async function insertReservation(tx: Sql, request: Request, lines: Line[]): Promise<Reservation> {
  const id = uuidv7()
  const { reference = null, holder = null, ttlSeconds } = request
  const [[row]] = await Promise.all([
    tx<[{ createdAt: Date; expiresAt: Date }]>`
      insert into reservations (id, state, reference, holder, expires_at, created_at, updated_at)
      select ${id}, 'held', ${reference}, ${holder}, moment + ${ttlSeconds}::int * interval '1 second', moment, moment
      from clock_timestamp() as moment
      returning created_at as "createdAt", expires_at as "expiresAt"`,
    tx`
      insert into reservation_lines (reservation_id, line, product_id, sku, location, quantity, held_until)
      select ${id}, line.number, line.product_id, line.sku, line.location, line.quantity, reservation.expires_at
      from unnest(${lines.map((line) => line.productId)}::uuid[], ${lines.map((line) => line.sku)}::text[],
                  ${lines.map((line) => line.location)}::text[], ${lines.map((line) => line.quantity)}::int[])
        with ordinality as line (product_id, sku, location, quantity, number)
      join reservations as reservation on reservation.id = ${id}`,
  ])
  const createdAt = row.createdAt.toISOString()
  return {
    id,
    state: 'held',
    lines: lines.map((line) => ({ ...line, confirmedQuantity: 0 })),
    reference,
    holder,
    expiresAt: row.expiresAt.toISOString(),
    createdAt,
    updatedAt: createdAt,
  }
}
