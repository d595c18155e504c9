import * as z from 'zod'
import { type Page, type PageRequest, type RequestContext, read, readPage, type Sql, transaction } from '#database'
import { newId } from '#ids'
import { logger, type StoredTrace } from '#telemetry'
import type { DeadEvent, DeadEventFilter, RedriveEvents } from './schema.ts'

/** The group under which `dead_events` has the events that the log refused: they died before any consumer got them. */
export const REFUSED_BY_LOG = 'publish-events'

/** The most events that one request redrives: a transaction of some hundred milliseconds. */
const REDRIVEN_MAX = 10_000

interface DeadEventRow extends Omit<DeadEvent, 'diedAt'> {
  diedAt: Date
}

function columns(sql: Sql) {
  return sql`id, event_id as "eventId", nullif(group_name, ${REFUSED_BY_LOG}) as "group", topic, type, product_id as "productId",
             version, data, error, attempts, died_at as "diedAt"`
}

const toDeadEvent = ({ diedAt, ...row }: DeadEventRow): DeadEvent => ({ ...row, diedAt: diedAt.toISOString() })

/** Dead events that have not been redriven, newest first. */
export function listDeadEvents(
  query: z.infer<typeof DeadEventFilter> & PageRequest,
  context: RequestContext,
): Promise<Page<DeadEvent>> {
  const { topic } = query
  const group = query.group === '' ? REFUSED_BY_LOG : query.group
  return readPage(query, context, {
    kind: 'dead-events',
    keys: z.tuple([z.guid()]),
    fetch: (after, limit) =>
      read(
        context,
        (sql) => sql<DeadEventRow[]>`
          select ${columns(sql)} from dead_events
          where due_at is null and ${after ? sql`id < ${after[0]}` : sql`true`}
            and ${group === undefined ? sql`true` : sql`group_name = ${group}`}
            and ${topic === undefined ? sql`true` : sql`topic = ${topic}`}
          order by id desc limit ${limit}`,
      ),
    keysOf: (row): [string] => [row.id],
    toItem: toDeadEvent,
  })
}

/** A dead event, and, if it was redriven, when it is delivered again. Undefined if there is none, or it has been delivered. */
export async function findDeadEvent(
  id: string,
  context: RequestContext,
): Promise<(DeadEvent & { dueAt: string | null }) | undefined> {
  const [row] = await read(
    context,
    (sql) => sql<Array<DeadEventRow & { dueAt: Date | null }>>`
      select ${columns(sql)}, due_at as "dueAt" from dead_events where id = ${id}`,
    (rows) => rows.length === 0,
  )
  return row && { ...toDeadEvent(row), dueAt: row.dueAt?.toISOString() ?? null }
}

/**
 * Makes dead events be delivered again, each to its own group only, with all attempts anew: those with these ids, or else the oldest 10,000. Events
 * that the log refused go back to the outbox. Skips unknown events, events that are already redriven, and messages that are no events. Returns the
 * number of redriven events.
 */
export async function redriveDeadEvents(
  { ids }: z.infer<typeof RedriveEvents>,
  context: RequestContext,
): Promise<number> {
  const redriven = await transaction(context, async (tx) => {
    const events = await tx<Array<{ id: string; group: string }>>`
      select id, group_name as "group" from dead_events
      where due_at is null and version is not null and ${ids ? tx`id = any(${ids}::uuid[])` : tx`true`}
      order by id limit ${REDRIVEN_MAX} for update`
    const idsWhere = (isRefused: boolean) =>
      events.flatMap(({ id, group }) => ((group === REFUSED_BY_LOG) === isRefused ? [id] : []))
    await Promise.all([
      tx`
        update dead_events set due_at = clock_timestamp(), attempts = 0 where id = any(${idsWhere(false)}::uuid[])`,
      tx`
        with taken as (
          delete from dead_events where id = any(${idsWhere(true)}::uuid[])
          returning event_id, topic, type, product_id, version, data, occurred_at, traceparent, tracestate, baggage
        )
        insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent, tracestate, baggage)
        select event_id::uuid, topic, type, product_id::uuid, version, data, occurred_at, traceparent, tracestate, baggage
        from taken order by product_id, version`,
    ])
    return events.length
  })
  logger().info({ actor: context.actor, redriven }, 'dead events redriven')
  return redriven
}

/** Redriven events that no consumer has handled yet. */
export async function countRedriven(context: RequestContext): Promise<number> {
  const [row] = await read(
    context,
    (sql) => sql<[{ count: number }]>`select count(*) as count from dead_events where due_at is not null`,
  )
  return row.count
}

/** An event that a consumer of Kafka gives up. Without type, product and version, it is a message that is no event. */
export interface DyingEvent extends StoredTrace {
  group: string
  topic: string
  position: number
  eventId: string
  type: string | null
  productId: string | null
  version: number | null
  /** A JSON text. */
  data: string
  occurredAt: Date
  error: string
  attempts: number
}

/** Records a dead event: once, however often its death is recorded. */
export async function recordDeadEvent(event: DyingEvent, context: RequestContext): Promise<void> {
  await transaction(
    context,
    (tx) => tx`
      insert into dead_events (id, group_name, topic, position, type, product_id, version, data, occurred_at, traceparent,
                               tracestate, baggage, error, attempts, event_id)
      values (${newId()}, ${event.group}, ${event.topic}, ${event.position}, ${event.type}, ${event.productId}, ${event.version},
              ${event.data}::text::json, ${event.occurredAt}, ${event.traceparent}, ${event.tracestate}, ${event.baggage},
              ${event.error}, ${event.attempts}, ${event.eventId})
      on conflict (group_name, event_id) do nothing`,
  )
}
