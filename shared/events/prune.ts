import { prune, type RequestContext } from '#database'
import { eventTypes } from './types.ts'

/**
 * Deletes events that are older than 7 days and that every group has passed, and what the inbox remembers of them. Gives how
 * many rows. The inbox forgets an event only after the log has, so none that can still come again is taken for new: the
 * embedded log is asked, and Kafka keeps an event for 8 days at most (kafka-topics.ts).
 */
export async function pruneEvents(context: RequestContext): Promise<number> {
  let deleted = 0
  for (const topic of new Set(Object.values(eventTypes))) deleted += await pruneTopic(context, topic)
  return deleted + (await pruneInbox(context))
}

/** Looks at the first rows only, the oldest but for some seconds: a look for the age alone would read the whole topic. */
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
