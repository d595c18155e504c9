import { prune, type RequestContext } from '#database'
import { eventTypes } from './event-types.ts'

/**
 * Deletes events older than 7 days that every group has passed, and their inbox rows. Gives the number of rows. An inbox row outlives
 * its event, so no event that can still be delivered again counts as new: this looks into the embedded log, and Kafka keeps an event
 * for 8 days at most (kafka/topics.ts).
 */
export async function pruneEvents(context: RequestContext): Promise<number> {
  let deleted = 0
  for (const topic of new Set(Object.values(eventTypes))) deleted += await pruneTopic(context, topic)
  return deleted + (await pruneInbox(context))
}

/** Reads the first rows only, which are the oldest to within seconds: a search by age would read the whole topic. */
function pruneTopic(context: RequestContext, topic: string): Promise<number> {
  return prune(
    context,
    (tx, limit) => tx`
      delete from event_log
      where topic = ${topic} and occurred_at < now() - interval '7 days' and position <= (
        select max(position) from (
          select position from event_log
          where topic = ${topic} and position <= all (select position from event_groups where topic = ${topic})
          order by position limit ${limit}
        ) as oldest
      )`,
  )
}

function pruneInbox(context: RequestContext): Promise<number> {
  return prune(
    context,
    (tx, limit) => tx`
      delete from inbox where ctid = any(array(
        select ctid from inbox
        where processed_at < now() - interval '9 days' and not exists (select from event_log where id = event_id)
        order by processed_at limit ${limit}
      ))`,
  )
}
