import type { Sql } from '#database'

/**
 * True the first time that `consumer` handles the event, false from then on. Call it first in the transaction of the effect: the record
 * and the effect commit together, and a concurrent delivery of the same event waits here for that commit.
 *
 * @example
 * await transaction(context, async (tx) => {
 *   if (await oncePerEvent(tx, 'send-receipts', event.id)) await insertReceipt(tx, event)
 * })
 */
export async function oncePerEvent(tx: Sql, consumer: string, eventId: string): Promise<boolean> {
  const { count } = await tx`
    insert into inbox (consumer, event_id) values (${consumer}, ${eventId}) on conflict do nothing`
  return count === 1
}

/** The events that `consumer` handles for the first time, as `oncePerEvent` tells for one event. Takes their records in the order of the ids. */
export async function oncePerEvents(
  tx: Sql,
  consumer: string,
  eventIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await tx<Array<{ eventId: string }>>`
    insert into inbox (consumer, event_id)
    select ${consumer}, event_id from unnest(${eventIds as string[]}::uuid[]) as event (event_id) order by event_id
    on conflict do nothing returning event_id as "eventId"`
  return new Set(rows.map(({ eventId }) => eventId))
}
