import { type Sql, systemContext, transaction } from '#database'
import { newId } from '#ids'
import type { LoggedEvent } from './log.ts'

/** The lease of a cursor. Three renewals fit in, so one or two may fail. */
export const LEASE_MS = 15_000

/** A consumer group's position in a topic, leased by one follower. `attempts` counts failed deliveries of the event after it. */
export interface Cursor {
  group: string
  topic: string
  holder: string
  position: number
  attempts: number
  /** Whether the last holder's lease expired: an event of its batch may have crashed it. */
  afterCrash: boolean
}

/** Another follower holds the cursor now. Nothing that this one does is recorded any more. */
export class CursorLost extends Error {
  override readonly name = 'CursorLost'
}

const writing = <Result>(group: string, work: (tx: Sql) => Promise<Result>) =>
  transaction(systemContext(`function:${group}`), work)

/** Leases the cursor to `holder`; undefined while another holds it. A new group starts at the beginning of the topic. */
export function takeCursor(group: string, topic: string, holder: string): Promise<Cursor | undefined> {
  return writing(group, async (tx) => {
    // No lease is longer than a new one: the clock was set back after this was written.
    await tx`
      update event_groups set held_until = ${leaseEnd(tx)}
      where name = ${group} and topic = ${topic} and held_until > ${leaseEnd(tx)}`
    const [row] = await tx<Array<{ position: number; attempts: number; afterCrash: boolean }>>`
      with before as (select holder from event_groups where name = ${group} and topic = ${topic})
      insert into event_groups as cursor (name, topic, holder, held_until)
      values (${group}, ${topic}, ${holder}, ${leaseEnd(tx)})
      on conflict (name, topic) do update set holder = excluded.holder, held_until = excluded.held_until
      where cursor.holder is null or cursor.held_until <= clock_timestamp()
      returning position, attempts, coalesce((select holder is not null from before), false) as "afterCrash"`
    return row && { group, topic, holder, ...row }
  })
}

/** Saves the position and attempts, and renews the lease. Throws CursorLost. */
export function saveCursor(cursor: Cursor): Promise<void> {
  return writing(cursor.group, (tx) => save(tx, cursor))
}

/** Renews the lease alone: the position may be changing at this moment. Throws CursorLost. */
export function renewCursor({ group, topic, holder }: Cursor): Promise<void> {
  return writing(group, async (tx) => {
    const { count } = await tx`
      update event_groups set held_until = ${leaseEnd(tx)}
      where name = ${group} and topic = ${topic} and holder = ${holder}`
    if (count === 0) throw new CursorLost()
  })
}

/** Dead-letters the event that the cursor has just passed, and saves the cursor. Throws CursorLost. */
export function deadLetterEvent(cursor: Cursor, event: LoggedEvent, attempts: number, error: string): Promise<void> {
  return writing(cursor.group, async (tx) => {
    await save(tx, cursor)
    await tx`
      insert into dead_events (id, group_name, topic, position, type, product_id, version, data, occurred_at, traceparent,
                               tracestate, error, attempts, event_id)
      select ${newId()}, ${cursor.group}, topic, position, type, product_id, version, data, occurred_at, traceparent,
             tracestate, ${error}, ${attempts}, id
      from event_log where topic = ${cursor.topic} and position = ${event.position}
      on conflict (group_name, event_id) do nothing`
  })
}

/** Ends the lease, so that another follower can take the cursor at once. */
export function releaseCursor({ group, topic, holder }: Cursor): Promise<void> {
  return writing(group, async (tx) => {
    await tx`
      update event_groups set holder = null, held_until = null
      where name = ${group} and topic = ${topic} and holder = ${holder}`
  })
}

async function save(tx: Sql, { group, topic, holder, position, attempts }: Cursor): Promise<void> {
  const { count } = await tx`
    update event_groups set position = ${position}, attempts = ${attempts}, held_until = ${leaseEnd(tx)}
    where name = ${group} and topic = ${topic} and holder = ${holder}`
  if (count === 0) throw new CursorLost()
}

const leaseEnd = (sql: Sql) => sql`clock_timestamp() + ${LEASE_MS}::int * interval '1 millisecond'`
