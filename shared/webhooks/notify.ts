import { type RequestContext, type Sql, transaction } from '#database'
import { oncePerEvent } from '#events'
import { submitJob } from '#jobs'
import { DeliveryPayload, type SentEvent } from './delivery-payload.ts'
import { hasSubscribers } from './subscriptions.ts'

/**
 * Submits a job for each webhook that subscribes to the event: once, however often `consumer` gets the event, because the jobs commit with
 * the inbox row. Gives the number of jobs.
 */
export async function notifyWebhooks(event: SentEvent, consumer: string, context: RequestContext): Promise<number> {
  if (!(await hasSubscribers(event.type))) return 0
  return transaction(context, async (tx) => {
    if (!(await oncePerEvent(tx, consumer, event.id))) return 0
    const ids = await webhooksFor(tx, event)
    const payloads = ids.map((webhookId) => DeliveryPayload.parse({ webhookId, event }))
    await Promise.all(payloads.map((payload) => submitJob({ type: 'deliver-webhook', payload }, context, tx)))
    return ids.length
  })
}

/**
 * Not the webhooks that were created or enabled after the event, which a consumer that lags may still get. An event has the time at which
 * its transaction began, so it may be committed after a later `enabled_at`: no transaction takes a minute. An `enabled_at` in the
 * future was written while the clock was ahead.
 */
async function webhooksFor(tx: Sql, { type, time }: SentEvent): Promise<string[]> {
  const rows = await tx<Array<{ id: string }>>`
    select id from webhooks
    where enabled and ${type} = any(events)
      and least(enabled_at, now()) <= coalesce(${time ?? null}::timestamptz, now()) + interval '1 minute'
    order by id`
  return rows.map(({ id }) => id)
}
