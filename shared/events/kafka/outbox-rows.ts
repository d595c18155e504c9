import type { Sql } from '#database'
import { newId } from '#ids'
import { BACKOFF_MAX_MS, backoffMs } from '../waits.ts'
import type { OutboxRow } from './message.ts'

/** Events at once: some 20 ms of work for the broker and for this process. */
export const ROWS_MAX = 1_000
/**
 * A partition's part of a batch has to stay below what a broker takes at once, 1,048,588 bytes unless told otherwise, and all of a
 * batch may be for one partition. An event that is larger by itself makes a batch of its own.
 */
const BYTES_MAX = 900_000
/** Of an event besides its data: some 400 bytes of headers, and a trace state of 512 at most. */
const OVERHEAD_BYTES = 1_000
/** Products that wait and are tried again in one turn: each takes a request of its own. */
const BLOCKED_MAX = 10

/** The consumer group whose dead events are those that could not be published. */
const GROUP = 'publish-events'

export interface BlockedRow extends OutboxRow {
  /** Those that failed. */
  attempts: number
}

/**
 * The next events in line, but for those in hand and those of products that wait. Those in hand are told by their numbers: rows
 * with lower ones may have been committed since, and one of them may be the older event of its product (docs/decisions/0003).
 */
export function readBatch(tx: Sql, inHand: readonly OutboxRow[], limit: number): Promise<OutboxRow[]> {
  return tx<OutboxRow[]>`
    with next as (
      select sequence, topic, id, type, product_id, version, data::text as data, occurred_at, traceparent, tracestate from outbox
      where sequence <> all(${inHand.map(({ sequence }) => sequence)}::bigint[])
        and not exists (select from outbox_blocked as blocked where blocked.product_id = outbox.product_id)
      order by sequence limit ${limit}
    ), measured as (
      select *, sum(octet_length(data) + ${OVERHEAD_BYTES}::int) over (order by sequence) as bytes, min(sequence) over () as first
      from next
    )
    select sequence, topic, id, type, product_id as "productId", version, data, occurred_at as "occurredAt", traceparent, tracestate
    from measured where bytes <= ${BYTES_MAX} or sequence = first order by sequence`
}

export async function removeRows(tx: Sql, rows: readonly OutboxRow[]): Promise<void> {
  if (rows.length > 0)
    await tx`delete from outbox where sequence = any(${rows.map(({ sequence }) => sequence)}::bigint[])`
}

/**
 * The events that the broker has refused and that are due to be tried again. A product does not wait for one that is no longer
 * there: whoever has taken it out of the outbox has dealt with it.
 */
export function readBlocked(tx: Sql): Promise<BlockedRow[]> {
  return tx<BlockedRow[]>`
    with gone as (
      delete from outbox_blocked as blocked
      where not exists (select from outbox where outbox.sequence = blocked.sequence)
    )
    select outbox.sequence, topic, id, type, outbox.product_id as "productId", version, data::text as data,
           occurred_at as "occurredAt", traceparent, tracestate, attempts
    from outbox_blocked as blocked join outbox on outbox.sequence = blocked.sequence
    where retry_at <= clock_timestamp()
      -- No wait is as long: the clock has been set back since.
      or retry_at > clock_timestamp() + ${BACKOFF_MAX_MS}::int * interval '1 millisecond'
    order by retry_at limit ${BLOCKED_MAX}`
}

/** Keeps an event back, and all that its product has behind it, until it is time to try it again. */
export async function blockRow(
  tx: Sql,
  { productId, sequence }: OutboxRow,
  attempts: number,
  error: string,
): Promise<void> {
  await tx`
    insert into outbox_blocked (product_id, sequence, attempts, retry_at, error)
    values (${productId}, ${sequence}, ${attempts}, clock_timestamp() + ${backoffMs(attempts)} * interval '1 millisecond', ${error})
    on conflict (product_id) do update
    set sequence = excluded.sequence, attempts = excluded.attempts, retry_at = excluded.retry_at, error = excluded.error`
}

export async function unblock(tx: Sql, { productId }: OutboxRow): Promise<void> {
  await tx`delete from outbox_blocked where product_id = ${productId}`
}

/** Puts an event among the dead ones: its product goes on without it. */
export async function parkRow(tx: Sql, row: OutboxRow, attempts: number, error: string): Promise<void> {
  await tx`
    with taken as (
      delete from outbox where sequence = ${row.sequence}
      returning topic, sequence, type, product_id, version, data, occurred_at, traceparent, tracestate, id
    )
    insert into dead_events (id, group_name, topic, position, type, product_id, version, data, occurred_at, traceparent, tracestate,
                             error, attempts, event_id)
    select ${newId()}, ${GROUP}, topic, sequence, type, product_id, version, data, occurred_at, traceparent, tracestate,
           ${error}, ${attempts}, id
    from taken
    on conflict (group_name, event_id) do nothing`
  await unblock(tx, row)
}

export async function countBlocked(tx: Sql): Promise<number> {
  const [row] = await tx<[{ count: number }]>`select count(*) as count from outbox_blocked`
  return row.count
}
