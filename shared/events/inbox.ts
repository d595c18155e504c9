import type { Sql } from '#database'

/**
 * True the first time that `consumer` meets the event, false ever after. Call it first in the transaction of the effect:
 * a twin at the same moment waits here for the commit, and both commit or neither does.
 */
export async function oncePerEvent(tx: Sql, consumer: string, eventId: string): Promise<boolean> {
  const { count } = await tx`
    insert into inbox (consumer, event_id) values (${consumer}, ${eventId}) on conflict do nothing`
  return count === 1
}
