import type * as z from 'zod'
import { type Member, pipeline, type Sql } from '#database'
import { makerFor } from './ownership.ts'
import type { LineRow } from './reservation-rows.ts'
import type { ReserveRequest } from './schema.ts'
import { findSkus } from './skus.ts'

type Request = z.infer<typeof ReserveRequest>

/** A held reservation that a new one replaces. */
export interface ReplacedHold {
  id: string
  lines: LineRow[]
}

/** The rows that a batch of requests refers to. */
export interface Lookups {
  idOfSku: Map<string, string>
  locations: Set<string>
  /** By `holdName`. Several if API keys own, or owned, their reservations. */
  replaced: Map<string, ReplacedHold[]>
  /** Every product that may need a lock. */
  productIds: string[]
}

/** The name of a shopper's one hold; undefined for a request that replaces none. */
export function holdName({ holder, reference }: Pick<Request, 'holder' | 'reference'>): [string] | undefined {
  return holder == null || reference == null ? undefined : [JSON.stringify([holder, reference])]
}

/** Looks up what the requests refer to, before anything is locked. Unknown skus and locations are left out. */
export async function lookUp(tx: Sql, members: ReadonlyArray<Member<Request>>): Promise<Lookups> {
  const requests = members.map(({ request }) => request)
  const lines = requests.flatMap((request) => request.lines)
  const [idOfSku, locationRows, replaced] = await pipeline([
    findSkus(tx, lines),
    findLocations(tx, [...new Set(lines.flatMap(({ location }) => location ?? []))]),
    findReplaced(tx, members),
  ])
  const productIds = [
    ...lines.flatMap(({ productId }) => productId ?? []),
    ...idOfSku.values(),
    ...[...replaced.values()].flat().flatMap((hold) => hold.lines.map((line) => line.productId)),
  ]
  return {
    idOfSku,
    locations: new Set(locationRows.map(({ code }) => code)),
    replaced,
    productIds,
  }
}

async function findLocations(tx: Sql, codes: string[]): Promise<Array<{ code: string }>> {
  if (codes.length === 0) return []
  return tx`select code from locations where code = any(${codes}::text[])`
}

/**
 * The held reservations that requests replace. Twins pass here one at a time, before any product is locked: each sees, in
 * the second statement's snapshot, the hold of the twin before it, so no shopper is refused because of their own hold.
 * The locks are taken in one order, so that two batches that share twins can't deadlock. No two requests of a batch have one name.
 */
async function findReplaced(tx: Sql, members: ReadonlyArray<Member<Request>>): Promise<Map<string, ReplacedHold[]>> {
  const named = members.filter(({ request }) => holdName(request) !== undefined)
  if (named.length === 0) return new Map()
  const holders = named.map(({ request }) => request.holder ?? null)
  const references = named.map(({ request }) => request.reference ?? null)
  const makers = named.map(({ context }) => makerFor(context))
  const [, rows] = await pipeline([
    tx`
      select pg_advisory_xact_lock(first, second) from (
        select distinct hashtext(holder) as first, hashtext(reference) as second
        from unnest(${holders}::text[], ${references}::text[]) as pair (holder, reference)
        order by first, second
      ) as name`,
    tx<Array<LineRow & { holder: string; reference: string }>>`
      select holder, reference, line.reservation_id as "reservationId",
             line.product_id as "productId", line.sku, line.location, line.quantity,
             line.confirmed_quantity as "confirmedQuantity"
      from unnest(${holders}::text[], ${references}::text[], ${makers}::text[]) as pair (holder, reference, maker)
      join reservations as reservation using (holder, reference)
      join reservation_lines as line on line.reservation_id = reservation.id
      where reservation.state = 'held' and (maker is null or maker = made_by)
      order by line.reservation_id, line.line`,
  ])
  const replaced = new Map<string, ReplacedHold[]>()
  for (const { holder, reference, ...line } of rows) {
    const [name = ''] = holdName({ holder, reference }) ?? []
    const holds = replaced.get(name) ?? []
    const hold = holds.find(({ id }) => id === line.reservationId)
    if (hold) hold.lines.push(line)
    else replaced.set(name, [...holds, { id: line.reservationId, lines: [line] }])
  }
  return replaced
}
