import { type RequestContext, type Sql, systemContext, transaction } from '#database'
import { oncePerEvents } from '#events'
import { submitJobs } from '#jobs'
import { DeliveryPayload, type SentEvent } from './delivery-payload.ts'
import { hasSubscribers } from './subscriptions.ts'

/** The events to be sent for a received event, with its context. */
export interface Notification {
  events: readonly SentEvent[]
  context: RequestContext
}

/** One of the events of a notification. */
interface Sending {
  event: SentEvent
  notification: Notification
}

/**
 * Submits a job for each webhook that subscribes to an event: once, however often `consumer` gets the event, because the jobs commit with the inbox
 * rows. Returns the number of jobs of each notification, or why its jobs can't be submitted. Throws if no jobs can be submitted at all.
 */
export async function notifyWebhooks(
  notifications: readonly Notification[],
  consumer: string,
): Promise<Array<PromiseSettledResult<number>>> {
  const results = notifications.map(unfitReason)
  const subscribed = await subscribedTypes(notifications)
  const sendings = notifications.flatMap((notification, index) =>
    results[index] ? [] : notification.events.map((event) => ({ event, notification })),
  )
  const wanted = sendings.filter(({ event }) => subscribed.has(event.type))
  const jobs = wanted.length > 0 ? await submitDeliveries(wanted, consumer) : new Map<Notification, number>()
  return notifications.map(
    (notification, index) => results[index] ?? { status: 'fulfilled', value: jobs.get(notification) ?? 0 },
  )
}

const Sendable = DeliveryPayload.shape.event

/** An event that can't be sent must not prevent the others from being sent. */
function unfitReason({ events }: Notification): PromiseRejectedResult | undefined {
  const error = events.map((event) => Sendable.safeParse(event).error).find((each) => each !== undefined)
  return error && { status: 'rejected', reason: error }
}

async function subscribedTypes(notifications: readonly Notification[]): Promise<ReadonlySet<string>> {
  const subscribed = new Set<string>()
  const types = new Set(notifications.flatMap(({ events }) => events.map(({ type }) => type)))
  for (const type of types) if (await hasSubscribers(type)) subscribed.add(type)
  return subscribed
}

/** Returns the number of jobs by notification. */
function submitDeliveries(sendings: readonly Sending[], consumer: string): Promise<Map<Notification, number>> {
  const context = systemContext(`function:${consumer}`)
  return transaction(context, async (tx) => {
    const ids = sendings.map(({ event }) => event.id)
    const unsent = new Set(await oncePerEvents(tx, consumer, ids))
    // An event that occurs twice is sent once.
    const due = sendings.filter(({ event }) => unsent.delete(event.id))
    const webhooks = await webhooksFor(tx, due)
    const jobs = due.flatMap(({ event, notification }, index) =>
      (webhooks.get(index) ?? []).map((webhookId) => ({
        payload: { webhookId, event } satisfies DeliveryPayload,
        trace: notification.context.trace,
        notification,
      })),
    )
    await submitJobs('deliver-webhook', jobs, context, tx)
    const counts = new Map<Notification, number>()
    for (const { notification } of jobs) counts.set(notification, (counts.get(notification) ?? 0) + 1)
    return counts
  })
}

/**
 * The webhooks of each event, by the event's index. It leaves out webhooks that were created or enabled after the event, which a lagging consumer
 * may still get. An event has the time at which its transaction began, so it may be committed after a later `enabled_at`: no transaction takes a
 * minute. An `enabled_at` in the future was written while the clock was ahead.
 */
async function webhooksFor(tx: Sql, sendings: readonly Sending[]): Promise<Map<number, string[]>> {
  const rows = await tx<Array<{ line: number; ids: string[] }>>`
    select event.line, array_agg(webhook.id order by webhook.id) as ids
    from unnest(
      ${sendings.map(({ event }) => event.type)}::text[], ${sendings.map(({ event }) => event.time ?? null)}::timestamptz[]
    ) with ordinality as event (type, time, line)
    join webhooks as webhook on webhook.enabled and event.type = any(webhook.events)
      and least(webhook.enabled_at, now()) <= coalesce(event.time, now()) + interval '1 minute'
    group by event.line`
  return new Map(rows.map(({ line, ids }) => [line - 1, ids]))
}
