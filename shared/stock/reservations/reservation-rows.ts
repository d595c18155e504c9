import { pipeline, type Sql } from '#database'
import type { Reservation, ReservationState } from '../schema.ts'

export interface ReservationRow {
  id: string
  state: ReservationState
  /** By the database's clock when the row is read, not at the transaction's start, since the transaction may have waited for locks. */
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
  /** Its place in the reservation, from 1. */
  line: number
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

/** Reservations that meet a condition, newest first, with their lines. One statement reads both, so that they are from one moment. */
export function readReservations(sql: Sql, condition: ReturnType<typeof columns>, limit: number) {
  return sql<Array<ReservationRow & { lines: LineRow[] }>>`
    select ${columns(sql)}, (
      select json_agg(json_build_object(
        'reservationId', reservation_id, 'line', line, 'productId', product_id, 'sku', sku, 'location', location, 'quantity', quantity,
        'confirmedQuantity', confirmed_quantity
      ) order by line)
      from reservation_lines where reservation_id = reservations.id
    ) as lines
    from reservations where ${condition} order by id desc limit ${limit}`
}

/** Locks reservations in the order of their ids. Every transaction locks the stock of their products first. */
export function lockReservations(tx: Sql, ids: string[], { skipLocked = false } = {}) {
  return tx<ReservationRow[]>`
    select ${columns(tx)} from reservations where id = any(${ids}::uuid[])
    order by id for update ${skipLocked ? tx`skip locked` : tx``}`
}

export function lineColumns(sql: Sql) {
  return sql`line.reservation_id as "reservationId", line.line, line.product_id as "productId", line.sku, line.location, line.quantity,
             line.confirmed_quantity as "confirmedQuantity"`
}

export function linesOf(sql: Sql, reservationIds: readonly string[]) {
  return sql<LineRow[]>`
    select ${lineColumns(sql)} from reservation_lines as line where reservation_id = any(${reservationIds}::uuid[])
    order by reservation_id, line`
}

export interface NewHold {
  reservation: Reservation
  madeBy: string
}

/** Adds held reservations with their lines. */
export async function insertHolds(tx: Sql, holds: readonly NewHold[]): Promise<void> {
  if (holds.length === 0) return
  const rows = holds.map(({ reservation }) => reservation)
  const lines = holds.flatMap(({ reservation }) =>
    reservation.lines.map((line, index) => ({ line, reservation, number: index + 1 })),
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

/** Expires reservations, with all of their lines. */
export async function setExpired(tx: Sql, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  await pipeline([
    tx`update reservations set state = 'expired', updated_at = clock_timestamp() where id = any(${ids}::uuid[])`,
    tx`update reservation_lines set held_until = null where reservation_id = any(${ids}::uuid[]) and held_until is not null`,
  ])
}

/** A reservation whose row is locked. */
export interface LockedReservation {
  row: ReservationRow
  lines: LineRow[]
}

/** Writes reservations that were changed in memory: their states, their deadlines, and the confirmed quantities of their lines. */
export async function saveReservations(tx: Sql, changed: readonly LockedReservation[]): Promise<void> {
  if (changed.length === 0) return
  const rows = changed.map(({ row }) => row)
  const lines = changed.flatMap(({ row, lines: own }) =>
    own.map((line) => ({ ...line, heldUntil: row.state === 'held' ? row.expiresAt.toISOString() : null })),
  )
  await pipeline([
    tx`
      update reservations as reservation
      set state = changed.state, expires_at = changed.expires_at, updated_at = changed.updated_at
      from unnest(${rows.map(({ id }) => id)}::uuid[], ${rows.map(({ state }) => state)}::text[],
                  ${rows.map(({ expiresAt }) => expiresAt.toISOString())}::timestamptz[],
                  ${rows.map(({ updatedAt }) => updatedAt.toISOString())}::timestamptz[])
        as changed (id, state, expires_at, updated_at)
      where reservation.id = changed.id`,
    tx`
      update reservation_lines as line
      set held_until = changed.held_until, confirmed_quantity = changed.confirmed_quantity
      from unnest(${lines.map(({ reservationId }) => reservationId)}::uuid[], ${lines.map(({ line }) => line)}::int[],
                  ${lines.map(({ heldUntil }) => heldUntil)}::timestamptz[],
                  ${lines.map(({ confirmedQuantity }) => confirmedQuantity)}::int[])
        as changed (reservation_id, line, held_until, confirmed_quantity)
      where line.reservation_id = changed.reservation_id and line.line = changed.line`,
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
