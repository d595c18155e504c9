import { pipeline, type RequestContext, type Sql } from '#database'
import { findSkus } from '../reads/skus.ts'
import { makerFor } from '../reservations/ownership.ts'
import { type LineRow, lineColumns, linesOf } from '../reservations/reservation-rows.ts'

/** The rows that a change of stock refers to. They are looked up, and locked, before the change is decided. */
export interface References {
  /** Products, each at one location or at any. */
  lines?: ReadonlyArray<{ productId?: string | undefined; sku?: string | undefined; location?: string | undefined }>
  /** The reservation that is changed. */
  reservationId?: string
  /** The held reservation with the same holder and reference is replaced. */
  holder?: string | null | undefined
  reference?: string | null | undefined
}

export interface Lookups {
  idOfSku: Map<string, string>
  locations: Set<string>
  /** The lines of each reservation that is changed or replaced, by its id. */
  linesOfReservation: Map<string, LineRow[]>
  /** The ids of the holds that are replaced, by `holdName`. There can be several if API keys own, or once owned, their reservations. */
  replaced: Map<string, string[]>
  /** Every product that may need a lock. */
  productIds: string[]
}

interface Referring {
  refersTo: References
  context: RequestContext
}

/** The name of a shopper's only hold; undefined for a change that replaces no hold. */
export function holdName({ holder, reference }: References): string | undefined {
  return holder == null || reference == null ? undefined : JSON.stringify([holder, reference])
}

/** The keys that two changes of one transaction must not share: a shopper's hold, or a reservation. */
export function keysOf(refersTo: References): string[] {
  const { reservationId } = refersTo
  const name = holdName(refersTo)
  return [...(name === undefined ? [] : [`hold ${name}`]), ...(reservationId ? [`reservation ${reservationId}`] : [])]
}

/** Looks up the rows that the changes refer to, before anything is locked. Unknown rows are left out. Sends no query that no change needs. */
export async function lookUp(tx: Sql, changes: readonly Referring[]): Promise<Lookups> {
  const lines = changes.flatMap(({ refersTo }) => refersTo.lines ?? [])
  const reservationIds = changes.flatMap(({ refersTo }) => refersTo.reservationId ?? [])
  const [idOfSku, locations, changed, replaced] = await pipeline([
    findSkus(tx, lines),
    findLocations(tx, [...new Set(lines.flatMap(({ location }) => location ?? []))]),
    reservationIds.length === 0 ? [] : linesOf(tx, reservationIds),
    findReplaced(tx, changes),
  ])
  const linesOfReservation = new Map<string, LineRow[]>()
  for (const line of [...changed, ...[...replaced.values()].flat()]) {
    const others = linesOfReservation.get(line.reservationId)
    // One change may change a reservation that another change replaces.
    if (!others) linesOfReservation.set(line.reservationId, [line])
    else if (!others.some((other) => other.line === line.line)) others.push(line)
  }
  const productIds = [
    ...lines.flatMap(({ productId }) => productId ?? []),
    ...idOfSku.values(),
    ...[...linesOfReservation.values()].flatMap((own) => own.map(({ productId }) => productId)),
  ]
  const idsOf = (own: readonly LineRow[]) => [...new Set(own.map(({ reservationId }) => reservationId))]
  return {
    idOfSku,
    locations: new Set(locations.map(({ code }) => code)),
    linesOfReservation,
    replaced: new Map([...replaced].map(([name, own]) => [name, idsOf(own)])),
    productIds,
  }
}

async function findLocations(tx: Sql, codes: string[]): Promise<Array<{ code: string }>> {
  if (codes.length === 0) return []
  return tx`select code from locations where code = any(${codes}::text[])`
}

/**
 * The lines of the held reservations that are replaced, by the holds' names. Requests for the same hold pass here one at a time, before any product
 * is locked: each sees, in the second statement's snapshot, the hold of the request before it, so no shopper is refused because of their own hold.
 * The locks are taken in one order, so two batches that share holds can't deadlock. No two changes of a batch have the same name.
 */
async function findReplaced(tx: Sql, changes: readonly Referring[]): Promise<Map<string, LineRow[]>> {
  const named = changes.filter(({ refersTo }) => holdName(refersTo) !== undefined)
  if (named.length === 0) return new Map()
  const holders = named.map(({ refersTo }) => refersTo.holder ?? null)
  const references = named.map(({ refersTo }) => refersTo.reference ?? null)
  const makers = named.map(({ context }) => makerFor(context))
  const [, rows] = await pipeline([
    tx`
      select pg_advisory_xact_lock(first, second) from (
        select distinct hashtext(holder) as first, hashtext(reference) as second
        from unnest(${holders}::text[], ${references}::text[]) as pair (holder, reference)
        order by first, second
      ) as name`,
    tx<Array<LineRow & { holder: string; reference: string }>>`
      select holder, reference, ${lineColumns(tx)}
      from unnest(${holders}::text[], ${references}::text[], ${makers}::text[]) as pair (holder, reference, maker)
      join reservations as reservation using (holder, reference)
      join reservation_lines as line on line.reservation_id = reservation.id
      where reservation.state = 'held' and (maker is null or maker = made_by)
      order by line.reservation_id, line.line`,
  ])
  const replaced = new Map<string, LineRow[]>()
  for (const { holder, reference, ...line } of rows) {
    const name = holdName({ holder, reference }) ?? ''
    replaced.set(name, [...(replaced.get(name) ?? []), line])
  }
  return replaced
}
