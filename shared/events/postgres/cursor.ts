import { pipeline, type Sql, systemContext, transaction } from '#database'
import { newId } from '#ids'
import type { Progress } from '../delivery/progress.ts'
import type { LoggedEvent } from './log.ts'

/** The lease of a cursor. It covers three renewals, so one or two may fail. */
export const LEASE_MS = 15_000

/** A consumer group's progress in a topic, as one follower leased it. */
export interface Cursor {
  group: string
  topic: string
  holder: string
  progress: Progress
  /** Whether the last holder's lease expired: one of its events may have crashed that holder. */
  afterCrash: boolean
}

/** Another follower holds the cursor now. Nothing that the former holder does is recorded any more. */
export class CursorLost extends Error {
  override readonly name = 'CursorLost'
}

const writing = <Result>(group: string, work: (tx: Sql) => Promise<Result>) =>
  transaction(systemContext(`function:${group}`), work)

/** Leases the cursor to `holder`; undefined while another follower holds it. A new group starts at the beginning of the topic. */
export function takeCursor(group: string, topic: string, holder: string): Promise<Cursor | undefined> {
  return writing(group, async (tx) => {
    // No lease is longer than a new one, except if the clock was set back after it was written.
    await tx`
      update event_groups set held_until = ${leaseEnd(tx)}
      where name = ${group} and topic = ${topic} and held_until > ${leaseEnd(tx)}`
    const [row] = await tx<Array<Progress & { afterCrash: boolean }>>`
      with before as (select holder from event_groups where name = ${group} and topic = ${topic})
      insert into event_groups as cursor (name, topic, holder, held_until)
      values (${group}, ${topic}, ${holder}, ${leaseEnd(tx)})
      on conflict (name, topic) do update set holder = excluded.holder, held_until = excluded.held_until
      where cursor.holder is null or cursor.held_until <= clock_timestamp()
      returning position, attempts, ahead, coalesce((select holder is not null from before), false) as "afterCrash"`
    if (!row) return undefined
    const { afterCrash, ...progress } = row
    return { group, topic, holder, progress, afterCrash }
  })
}

/** Saves the progress, and renews the lease. Throws CursorLost. */
export function saveCursor({ group, topic, holder }: Cursor, { position, attempts, ahead }: Progress): Promise<void> {
  return writing(group, async (tx) => {
    const [, { count }] = await pipeline([
      // If a crash of the server loses this write, events are only delivered again.
      tx`set local synchronous_commit = off`,
      tx`
        update event_groups
        set position = ${position}, attempts = ${attempts}, ahead = ${ahead && JSON.stringify(ahead)}::text::json,
            held_until = ${leaseEnd(tx)}
        where name = ${group} and topic = ${topic} and holder = ${holder}`,
    ])
    if (count === 0) throw new CursorLost()
  })
}

/** Renews only the lease: the position may be changing at this moment. Throws CursorLost. */
export function renewCursor({ group, topic, holder }: Cursor): Promise<void> {
  return writing(group, async (tx) => {
    const { count } = await tx`
      update event_groups set held_until = ${leaseEnd(tx)}
      where name = ${group} and topic = ${topic} and holder = ${holder}`
    if (count === 0) throw new CursorLost()
  })
}

/** Dead-letters an event of the cursor's topic. Throws CursorLost. */
export function deadLetterEvent(
  { group, topic, holder }: Cursor,
  { position }: LoggedEvent,
  attempts: number,
  error: string,
): Promise<void> {
  return writing(group, async (tx) => {
    const held =
      await tx`select from event_groups where name = ${group} and topic = ${topic} and holder = ${holder} for update`
    if (held.length === 0) throw new CursorLost()
    await tx`
      insert into dead_events (id, group_name, topic, position, type, product_id, version, data, occurred_at, traceparent,
                               tracestate, baggage, error, attempts, event_id)
      select ${newId()}, ${group}, topic, position, type, product_id, version, data, occurred_at, traceparent,
             tracestate, baggage, ${error}, ${attempts}, id
      from event_log where topic = ${topic} and position = ${position}
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

const leaseEnd = (sql: Sql) => sql`clock_timestamp() + ${LEASE_MS}::int * interval '1 millisecond'`
