import type { Sql } from '#database'
import { newId } from '#ids'
import { REFUSED_BY_LOG } from '../dead-events.ts'
import { BACKOFF_MAX_MS, backoffMs } from '../delivery/waits.ts'
import type { OutboxRow } from './message.ts'

/** The most events in a batch: some 20 ms of work for the broker and for this process. */
export const ROWS_MAX = 1_000
/**
 * The most bytes in a batch. All of them may be for one partition, and by default a broker takes 1,048,588 bytes for a partition at once. A larger
 * event makes a batch of its own.
 */
const BYTES_MAX = 900_000
/** The size of an event without its data and baggage: some 400 bytes of headers, and a trace state of at most 512. */
const OVERHEAD_BYTES = 1_000
/** The most blocked events that one turn retries: each takes its own request. */
const BLOCKED_MAX = 10

export interface BlockedRow extends OutboxRow {
  /** Failed attempts so far. */
  attempts: number
}

/**
 * The next events, without those in flight and those of blocked products. It excludes the events in flight one by one instead of by a lower bound:
 * rows with lower numbers may have been committed since, and one of them may be an older event of its product (docs/decisions/0003).
 */
export function readBatch(tx: Sql, inFlight: readonly OutboxRow[], limit: number): Promise<OutboxRow[]> {
  return tx<OutboxRow[]>`
    with next as (
      select sequence, topic, id, type, product_id, version, data::text as data, occurred_at, traceparent, tracestate, baggage
      from outbox
      where sequence <> all(${inFlight.map(({ sequence }) => sequence)}::bigint[])
        and not exists (select from outbox_blocked as blocked where blocked.product_id = outbox.product_id)
      order by sequence limit ${limit}
    ), measured as (
      select *, min(sequence) over () as first,
             sum(octet_length(data) + coalesce(octet_length(baggage), 0) + ${OVERHEAD_BYTES}::int) over (order by sequence) as bytes
      from next
    )
    select sequence, topic, id, type, product_id as "productId", version, data, occurred_at as "occurredAt", traceparent, tracestate,
           baggage
    from measured where bytes <= ${BYTES_MAX} or sequence = first order by sequence`
}

export async function removeRows(tx: Sql, rows: readonly OutboxRow[]): Promise<void> {
  if (rows.length > 0)
    await tx`delete from outbox where sequence = any(${rows.map(({ sequence }) => sequence)}::bigint[])`
}

/**
 * The refused events that are due for another attempt. A product is unblocked if its event is no longer in the outbox, because an operator has
 * removed it.
 */
export function readBlocked(tx: Sql): Promise<BlockedRow[]> {
  return tx<BlockedRow[]>`
    with gone as (
      delete from outbox_blocked as blocked
      where not exists (select from outbox where outbox.sequence = blocked.sequence)
    )
    select outbox.sequence, topic, id, type, outbox.product_id as "productId", version, data::text as data,
           occurred_at as "occurredAt", traceparent, tracestate, baggage, attempts
    from outbox_blocked as blocked join outbox on outbox.sequence = blocked.sequence
    where retry_at <= clock_timestamp()
      -- No backoff is as long: the clock was set back after this was written.
      or retry_at > clock_timestamp() + ${BACKOFF_MAX_MS}::int * interval '1 millisecond'
    order by retry_at limit ${BLOCKED_MAX}`
}

/** Blocks an event, and all later events of its product, until its next attempt is due. */
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

/** Dead-letters an event. Later events of its product are published without it. */
export async function deadLetterRow(tx: Sql, row: OutboxRow, attempts: number, error: string): Promise<void> {
  await tx`
    with taken as (
      delete from outbox where sequence = ${row.sequence}
      returning topic, sequence, type, product_id, version, data, occurred_at, traceparent, tracestate, baggage, id
    )
    insert into dead_events (id, group_name, topic, position, type, product_id, version, data, occurred_at, traceparent, tracestate,
                             baggage, error, attempts, event_id)
    select ${newId()}, ${REFUSED_BY_LOG}, topic, sequence, type, product_id, version, data, occurred_at, traceparent, tracestate, baggage,
           ${error}, ${attempts}, id
    from taken
    on conflict (group_name, event_id) do nothing`
  await unblock(tx, row)
}

export async function countBlocked(tx: Sql): Promise<number> {
  const [row] = await tx<[{ count: number }]>`select count(*) as count from outbox_blocked`
  return row.count
}
