import { prune, type RequestContext } from '#database'
import { eventTypes } from './event-types.ts'

/** How long a message that was no event is kept among the dead events. The dead-letter topic keeps it. */
const NO_EVENT_KEPT_DAYS = 30

/**
 * Deletes events older than 7 days that every group has passed, their inbox rows, and messages that are no events from the dead events. Returns the
 * number of rows. An inbox row outlives its event, so no event that can still be delivered again counts as new: this looks into the embedded log
 * and the dead events, which stay until they are redriven, and Kafka keeps an event for 8 days at most (kafka/topics.ts).
 */
export async function pruneEvents(context: RequestContext): Promise<number> {
  let deleted = 0
  for (const topic of new Set(Object.values(eventTypes))) deleted += await pruneTopic(context, topic)
  return deleted + (await pruneInbox(context)) + (await pruneDead(context))
}

/** Reads only the first rows, which are the oldest ones to within seconds: a search by age would read the whole topic. */
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
          and not exists (
            select from dead_events as dead where group_name = consumer and dead.event_id = inbox.event_id::text
          )
        order by processed_at limit ${limit}
      ))`,
  )
}

function pruneDead(context: RequestContext): Promise<number> {
  return prune(
    context,
    (tx, limit) => tx`
      delete from dead_events where id = any(array(
        select id from dead_events
        where version is null and died_at < now() - ${NO_EVENT_KEPT_DAYS}::int * interval '1 day' limit ${limit}
      ))`,
  )
}
