import { pipeline, type Sql } from '#database'
import type { Reservation, ReservationState } from './schema.ts'

export interface ReservationRow {
  id: string
  state: ReservationState
  /** By the database's clock when the row is read, not at the transaction's start, since it may have waited for locks. */
  isOverdue: boolean
  reference: string | null
  holder: string | null
  madeBy: string | null
  expiresAt: Date
  createdAt: Date
  updatedAt: Date
}

export interface LineRow {
  reservationId: string
  productId: string
  sku: string
  location: string
  quantity: number
  confirmedQuantity: number
}

function columns(sql: Sql) {
  return sql`id, state, expires_at <= clock_timestamp() as "isOverdue", reference, holder, made_by as "madeBy",
             expires_at as "expiresAt",
             created_at as "createdAt", updated_at as "updatedAt"`
}

/** Reservations that exist among `ids`, in no order. */
export function findReservations(sql: Sql, ids: string[]) {
  return sql<ReservationRow[]>`select ${columns(sql)} from reservations where id = any(${ids}::uuid[])`
}

/** Reservations that meet a condition, newest first, with their lines: in one statement, so that the two are of one moment. */
export function readReservations(sql: Sql, condition: ReturnType<typeof columns>, limit: number) {
  return sql<Array<ReservationRow & { lines: LineRow[] }>>`
    select ${columns(sql)}, (
      select json_agg(json_build_object(
        'reservationId', reservation_id, 'productId', product_id, 'sku', sku, 'location', location, 'quantity', quantity,
        'confirmedQuantity', confirmed_quantity
      ) order by line)
      from reservation_lines where reservation_id = reservations.id
    ) as lines
    from reservations where ${condition} order by id desc limit ${limit}`
}

/** Locks reservations in the order of their ids. Every transaction locks their products' stock before. */
export function lockReservations(tx: Sql, ids: string[], { skipLocked = false } = {}) {
  return tx<ReservationRow[]>`
    select ${columns(tx)} from reservations where id = any(${ids}::uuid[])
    order by id for update ${skipLocked ? tx`skip locked` : tx``}`
}

export function linesOf(sql: Sql, reservationIds: string[]) {
  return sql<LineRow[]>`
    select reservation_id as "reservationId", product_id as "productId", sku, location, quantity,
           confirmed_quantity as "confirmedQuantity"
    from reservation_lines where reservation_id = any(${reservationIds}::uuid[])
    order by reservation_id, line`
}

/** Adds held reservations with their lines. */
export async function insertHolds(
  tx: Sql,
  holds: ReadonlyArray<{
    reservation: Reservation
    madeBy: string
    lines: ReadonlyArray<Omit<LineRow, 'reservationId' | 'confirmedQuantity'>>
  }>,
): Promise<void> {
  if (holds.length === 0) return
  const rows = holds.map(({ reservation }) => reservation)
  const lines = holds.flatMap(({ reservation, lines: own }) =>
    own.map((line, index) => ({ line, reservation, number: index + 1 })),
  )
  await pipeline([
    tx`
      insert into reservations (id, state, reference, holder, made_by, expires_at, created_at, updated_at)
      select id, 'held', reference, holder, made_by, expires_at, created_at, created_at
      from unnest(${rows.map((row) => row.id)}::uuid[], ${rows.map((row) => row.reference)}::text[],
                  ${rows.map((row) => row.holder)}::text[], ${holds.map(({ madeBy }) => madeBy)}::text[],
                  ${rows.map((row) => row.expiresAt)}::timestamptz[], ${rows.map((row) => row.createdAt)}::timestamptz[])
        as hold (id, reference, holder, made_by, expires_at, created_at)`,
    tx`
      insert into reservation_lines (reservation_id, line, product_id, sku, location, quantity, held_until)
      select * from unnest(
        ${lines.map(({ reservation }) => reservation.id)}::uuid[], ${lines.map(({ number }) => number)}::int[],
        ${lines.map(({ line }) => line.productId)}::uuid[], ${lines.map(({ line }) => line.sku)}::text[],
        ${lines.map(({ line }) => line.location)}::text[], ${lines.map(({ line }) => line.quantity)}::int[],
        ${lines.map(({ reservation }) => reservation.expiresAt)}::timestamptz[])`,
  ])
}

/** Ends reservations, with all of their lines. */
export async function setState(
  tx: Sql,
  ids: readonly string[],
  state: Exclude<ReservationState, 'held'>,
): Promise<void> {
  if (ids.length === 0) return
  await pipeline([
    tx`update reservations set state = ${state}, updated_at = clock_timestamp() where id = any(${ids}::uuid[])`,
    tx`update reservation_lines set held_until = null where reservation_id = any(${ids}::uuid[]) and held_until is not null`,
  ])
}

/** A reservation as clients see it. A hold past its deadline is expired, swept or not. */
export function toReservation(row: ReservationRow, lines: readonly LineRow[]): Reservation {
  return {
    id: row.id,
    state: row.state === 'held' && row.isOverdue ? 'expired' : row.state,
    lines: lines
      .filter(({ reservationId }) => reservationId === row.id)
      .map(({ productId, sku, location, quantity, confirmedQuantity }) => ({
        productId,
        sku,
        location,
        quantity,
        confirmedQuantity,
      })),
    reference: row.reference,
    holder: row.holder,
    expiresAt: row.expiresAt.toISOString(),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  }
}
