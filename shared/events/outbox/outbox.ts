import type { Sql } from '#database'
import { newId } from '#ids'
import { type TraceContext, traceOfMessage } from '#telemetry'
import { type EventType, eventTypes } from '../event-types.ts'

export interface NewEvent {
  type: EventType
  productId: string
  /** The product's event version. It is also a member of `data`. */
  version: number
  data: object
  trace: TraceContext
}

/**
 * Writes events into the outbox, in this order, as part of `tx`: they are published if and only if `tx` commits.
 *
 * @example
 * await publish(tx, [{ type: 'stock.low', productId, version, data: { productId, version, stock }, trace: context.trace }])
 */
export async function publish(tx: Sql, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return
  const ids = events.map(() => newId())
  const traces = events.map(({ trace, type }, index) =>
    traceOfMessage(trace, { system: 'outbox', destination: eventTypes[type], id: ids[index] ?? '' }),
  )
  await tx`
    insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent, tracestate, baggage)
    select event.id, event.topic, event.type, event.product_id, event.version, event.data, now(), event.traceparent,
           event.tracestate, event.baggage
    from rows from (
      unnest(
        ${ids}::uuid[],
        ${events.map((event) => eventTypes[event.type])}::text[],
        ${events.map((event) => event.type)}::text[],
        ${events.map((event) => event.productId)}::uuid[],
        ${events.map((event) => event.version)}::bigint[],
        ${traces.map(({ traceparent }) => traceparent)}::text[],
        ${traces.map(({ tracestate }) => tracestate ?? null)}::text[],
        ${traces.some(({ baggage }) => baggage) ? traces.map(({ baggage }) => baggage ?? null) : null}::text[]
      ),
      -- One document: in an array of texts, each would be escaped a second time.
      json_array_elements(${JSON.stringify(events.map((event) => event.data))}::text::json)
    ) with ordinality as event (id, topic, type, product_id, version, traceparent, tracestate, baggage, data, line)
    order by event.line`
}
