import { askPrimary, type Sql } from '#database'
import { inSendSpans, type StoredTrace, tracing } from '#telemetry'

/** An event of a topic. */
export interface LoggedEvent extends StoredTrace {
  position: number
  /** Only for an event in Kafka. */
  partition?: number
  id: string
  type: string
  productId: string
  version: number
  data: unknown
  occurredAt: Date
}

/**
 * Moves the first `limit` events of the outbox to the end of the log, in their order, as part of `tx`. Returns their number. It selects them by a
 * range instead of a join: the statistics mostly say that the outbox is empty, and a join planned for one row took more than 10 s for 20,000.
 */
export async function appendFromOutbox(tx: Sql, limit: number): Promise<number> {
  const startedAt = performance.now()
  // Only spans need to know which events they are.
  const returning = tracing() ? tx`returning topic as destination, id, traceparent, tracestate` : tx``
  const moved = await tx<Array<{ destination: string; id: string; traceparent: string; tracestate: string | null }>>`
    with taken as (
      delete from outbox where sequence <= (
        select max(sequence) from (select sequence from outbox order by sequence limit ${limit}) as batch
      )
      returning sequence, topic, id, type, product_id, version, data, occurred_at, traceparent, tracestate, baggage
    )
    insert into event_log (topic, id, type, product_id, version, data, occurred_at, traceparent, tracestate, baggage)
    select topic, id, type, product_id, version, data, occurred_at, traceparent, tracestate, baggage from taken order by sequence
    ${returning}`
  const messages = () =>
    moved.map(({ destination, id, ...trace }) => ({ system: 'postgresql', destination, id, trace }))
  await inSendSpans(messages, async () => {}, startedAt)
  return moved.count
}

/** The next events of a topic, from the primary: a lagging replica would delay them. */
export function readLog(topic: string, after: number, limit: number): Promise<LoggedEvent[]> {
  return askPrimary(
    (sql) => sql<LoggedEvent[]>`
    select position, id, type, product_id as "productId", version, data, occurred_at as "occurredAt", traceparent, tracestate, baggage
    from event_log where topic = ${topic} and position > ${after} order by position limit ${limit}`,
  )
}
