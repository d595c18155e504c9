import { type Sql, systemContext, transaction } from '#database'
import { newId } from '#ids'
import type { LoggedEvent } from './log.ts'

/** How long a follower is believed in without a sign of life. Three signs fit in, so one or two may get lost. */
export const HELD_MS = 15_000

/** A consumer group's place in a topic, held by one follower. `attempts` counts deliveries of the event after it, all in vain. */
export interface Cursor {
  group: string
  topic: string
  holder: string
  position: number
  attempts: number
  /** Whether whoever held it before has died, or was taken for dead: maybe of an event that was in hand. */
  isLeftBehind: boolean
}

/** Another follower has taken the cursor over: what this one does from now on is not recorded. */
export class CursorLost extends Error {
  override readonly name = 'CursorLost'
}

const writing = <Result>(group: string, work: (tx: Sql) => Promise<Result>) =>
  transaction(systemContext(`function:${group}`), work)

/** Takes the cursor for `holder` if nobody alive holds it, else gives undefined. A group's first look starts at the beginning. */
export function takeCursor(group: string, topic: string, holder: string): Promise<Cursor | undefined> {
  return writing(group, async (tx) => {
    // Written by a clock that has been set back since: whoever holds it has no longer than anybody to give a sign of life.
    await tx`
      update event_groups set held_until = ${heldUntil(tx)}
      where name = ${group} and topic = ${topic} and held_until > ${heldUntil(tx)}`
    const [row] = await tx<Array<{ position: number; attempts: number; isLeftBehind: boolean }>>`
      with before as (select holder from event_groups where name = ${group} and topic = ${topic})
      insert into event_groups as cursor (name, topic, holder, held_until)
      values (${group}, ${topic}, ${holder}, ${heldUntil(tx)})
      on conflict (name, topic) do update set holder = excluded.holder, held_until = excluded.held_until
      where cursor.holder is null or cursor.held_until <= clock_timestamp()
      returning position, attempts, coalesce((select holder is not null from before), false) as "isLeftBehind"`
    return row && { group, topic, holder, ...row }
  })
}

/** Saves how far it has come, which is also a sign of life. Throws CursorLost. */
export function saveCursor(cursor: Cursor): Promise<void> {
  return writing(cursor.group, (tx) => save(tx, cursor))
}

/** A sign of life, and nothing else: the position may be changing just now. Throws CursorLost. */
export function keepCursor({ group, topic, holder }: Cursor): Promise<void> {
  return writing(group, async (tx) => {
    const { count } = await tx`
      update event_groups set held_until = ${heldUntil(tx)}
      where name = ${group} and topic = ${topic} and holder = ${holder}`
    if (count === 0) throw new CursorLost()
  })
}

/** Puts the event that the cursor has just passed among the dead ones, and saves the cursor. Throws CursorLost. */
export function buryEvent(cursor: Cursor, event: LoggedEvent, attempts: number, error: string): Promise<void> {
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

/** Lets another follower have the cursor at once. */
export function releaseCursor({ group, topic, holder }: Cursor): Promise<void> {
  return writing(group, async (tx) => {
    await tx`
      update event_groups set holder = null, held_until = null
      where name = ${group} and topic = ${topic} and holder = ${holder}`
  })
}

async function save(tx: Sql, { group, topic, holder, position, attempts }: Cursor): Promise<void> {
  const { count } = await tx`
    update event_groups set position = ${position}, attempts = ${attempts}, held_until = ${heldUntil(tx)}
    where name = ${group} and topic = ${topic} and holder = ${holder}`
  if (count === 0) throw new CursorLost()
}

const heldUntil = (sql: Sql) => sql`clock_timestamp() + ${HELD_MS}::int * interval '1 millisecond'`
