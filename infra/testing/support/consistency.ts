import { expect } from 'vitest'
import { sql } from './engines/database.ts'

/**
 * Fails unless the whole database keeps the promises of the ledger: counters are the sums of the ledger and of the holds,
 * every ledger row continues the one before it, and every product's events are numbered 1 to n.
 */
export async function expectConsistent(): Promise<void> {
  const [levels, chain, holds, ledgerOfReservations, versions] = await Promise.all([
    wrongLevels(),
    brokenChains(),
    wrongHolds(),
    wrongReservations(),
    wrongVersions(),
  ])
  expect({ levels, chain, holds, ledgerOfReservations, versions }).toEqual({
    levels: [],
    chain: [],
    holds: [],
    ledgerOfReservations: [],
    versions: [],
  })
}

/** Finds counters that differ from the ledger or from the lines of held reservations. */
async function wrongLevels() {
  return [
    ...(await sql`
      with ledger as (
        select product_id, location, sum(on_hand_delta) as on_hand, sum(reserved_delta) as reserved
        from stock_movements group by product_id, location
      ), held as (
        select product_id, location, sum(quantity) as reserved
        from reservation_lines join reservations on id = reservation_id
        where state = 'held' group by product_id, location
      )
      select product_id, location, level.on_hand, level.reserved, ledger.on_hand as ledger_on_hand,
             ledger.reserved as ledger_reserved, held.reserved as held_reserved
      from stock_levels as level
      full join ledger using (product_id, location)
      full join held using (product_id, location)
      where level.on_hand is distinct from coalesce(ledger.on_hand, 0)
         or level.reserved is distinct from coalesce(ledger.reserved, 0)
         or level.reserved is distinct from coalesce(held.reserved, 0)
         or not (0 <= level.reserved and level.reserved <= level.on_hand)`),
  ]
}

/** Finds ledger rows whose balances are not the previous row's balances plus their own change. */
async function brokenChains() {
  return [
    ...(await sql`
      select * from (
        select product_id, location, sequence, on_hand_delta, on_hand_after, reserved_delta, reserved_after,
               lag(on_hand_after, 1, 0) over before as on_hand_before, lag(reserved_after, 1, 0) over before as reserved_before
        from stock_movements window before as (partition by product_id, location order by sequence)
      ) as movement
      where on_hand_before + on_hand_delta <> on_hand_after or reserved_before + reserved_delta <> reserved_after
         or not (0 <= reserved_after and reserved_after <= on_hand_after)`),
  ]
}

/** Finds lines that are held although their reservation is not, or the reverse, or with another deadline. Also finds reservations without lines. */
async function wrongHolds() {
  return [
    ...(await sql`
      select reservation_id, line, state, held_until, expires_at, quantity, confirmed_quantity
      from reservation_lines join reservations on id = reservation_id
      where held_until is distinct from case state when 'held' then expires_at end
         or (state <> 'confirmed' and confirmed_quantity <> 0)`),
    ...(await sql`select id from reservations where id not in (select reservation_id from reservation_lines)`),
  ]
}

/** Finds reservations whose ledger rows do not add up to the quantities that they hold or have confirmed. */
async function wrongReservations() {
  return [
    ...(await sql`
      with line as (
        select reservation_id, product_id, location, sum(confirmed_quantity) as confirmed,
               sum(case state when 'held' then quantity else 0 end) as held
        from reservation_lines join reservations on id = reservation_id group by reservation_id, product_id, location
      ), ledger as (
        select reservation_id, product_id, location, sum(on_hand_delta) as on_hand, sum(reserved_delta) as reserved
        from stock_movements where reservation_id is not null group by reservation_id, product_id, location
      )
      select * from line full join ledger using (reservation_id, product_id, location)
      where -ledger.on_hand is distinct from line.confirmed or ledger.reserved is distinct from line.held`),
  ]
}

/** Every event, published or not, in the order in which they were written: published events are older than those in the outbox. */
const events = () => sql`(
  select 0 as stage, position as sequence, topic, type, product_id, version, data from event_log
  union all select 1, sequence, topic, type, product_id, version, data from outbox
)`

/** Finds products whose events are not numbered 1 to n in the order they were written, or that lack an event for a ledger row. */
async function wrongVersions() {
  return [
    ...(await sql`
      select product_id, sequence, version, data->>'version' as told, expected from (
        select *, row_number() over (partition by product_id order by stage, sequence) as expected
        from ${events()} as written
      ) as event
      where version <> expected or (data->>'version')::bigint <> version`),
    ...(await sql`
      select level.product_id, level.version, count(event.version) as events
      from stock_levels as level left join ${events()} as event using (product_id)
      where level.location = 'main' group by level.product_id, level.version having count(event.version) <> level.version`),
    ...(await sql`select product_id, location, version from stock_levels where location <> 'main' and version <> 0`),
    ...(await sql`
      select product_id, movements, events
      from (select product_id, count(*) as movements from stock_movements group by product_id) as ledger
      full join (
        select product_id, count(*) as events from ${events()} as written
        where topic = 'stock-events' and type not in ('stock.low', 'stock.out', 'stock.back') group by product_id
      ) as told using (product_id)
      where movements is distinct from events`),
  ]
}
