import * as z from 'zod'
import {
  type Page,
  type PageRequest,
  type RequestContext,
  read,
  readPage,
  requireAskedFor,
  type Sql,
  scan,
} from '#database'
import { notFound } from '#errors'
import type { Reservation, ReservationFilter } from '../schema.ts'
import { isTouchable, makerFor } from './ownership.ts'
import { readReservations, toReservation } from './reservation-rows.ts'

/** Throws `reservation_not_found`. */
export async function getReservation(id: string, context: RequestContext): Promise<Reservation> {
  const find = async (sql: Sql) => {
    const [row] = await readReservations(sql, sql`id = ${id} and ${isTouchable(sql, context)}`, 1)
    if (row) requireAskedFor(row.id === id, 'reservation')
    return row && toReservation(row, row.lines)
  }
  const reservation = await read(context, find, (found) => found === undefined)
  if (!reservation) throw notFound('reservation', id)
  return reservation
}

/** The reservations with these ids, by id. Throws `reservation_not_found` if one is missing. */
export async function getReservations(
  ids: readonly string[],
  context: RequestContext,
): Promise<ReadonlyMap<string, Reservation>> {
  const find = async (sql: Sql) => {
    const condition = sql`id = any(${ids as string[]}::uuid[]) and ${isTouchable(sql, context)}`
    const rows = await readReservations(sql, condition, ids.length)
    return new Map(rows.map((row) => [row.id, toReservation(row, row.lines)]))
  }
  const found = await read(context, find, ({ size }) => size < ids.length)
  for (const id of ids) if (!found.has(id)) throw notFound('reservation', id)
  return found
}

/** Reservations that the request may see, newest first. */
export function listReservations(
  query: z.infer<typeof ReservationFilter> & PageRequest,
  context: RequestContext,
): Promise<Page<Reservation>> {
  const find = (sql: Sql) =>
    readPage(query, context, {
      kind: 'reservations',
      keys: z.tuple([z.guid()]),
      fetch: async (after, limit) => {
        const condition = sql`${conditionOf(sql, query, after?.[0])} and ${isTouchable(sql, context)}`
        const rows = await readReservations(sql, condition, limit)
        return rows.map((row) => toReservation(row, row.lines))
      },
      keysOf: (reservation): [string] => [reservation.id],
      toItem: (reservation) => reservation,
    })
  const { reference, holder, state, productId } = query
  // Reference and holder have an index. With other filters, a rare match may need a scan of all reservations.
  const isSelective = (state ?? productId ?? makerFor(context) ?? undefined) !== undefined
  const isScan = isSelective && (reference ?? holder) === undefined
  return isScan ? scan(context, find) : read(context, find)
}

function conditionOf(sql: Sql, filter: z.infer<typeof ReservationFilter>, after: string | undefined) {
  const { reference, holder, state, productId } = filter
  return sql`
    ${after === undefined ? sql`true` : sql`id < ${after}`}
    and ${reference === undefined ? sql`true` : sql`reference = ${reference}`}
    and ${holder === undefined ? sql`true` : sql`holder = ${holder}`}
    and ${state === undefined ? sql`true` : inState(sql, state)}
    and ${productId === undefined ? sql`true` : sql`id in (select reservation_id from reservation_lines where product_id = ${productId})`}`
}

/** Filters by the state that clients see: an overdue hold is expired. */
function inState(sql: Sql, state: string) {
  if (state === 'held') return sql`(state = 'held' and expires_at > now())`
  if (state === 'expired') return sql`(state = 'expired' or (state = 'held' and expires_at <= now()))`
  return sql`state = ${state}`
}
