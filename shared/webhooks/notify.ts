import { type RequestContext, type Sql, transaction } from '#database'
import { oncePerEvent } from '#events'
import { submitJob } from '#jobs'
import type { PayloadOf } from '#jobs/schema'
import { isAwaited } from './subscriptions.ts'

type SentEvent = PayloadOf<'deliver-webhook'>['event']

/**
 * Submits, on behalf of `consumer`, a job for each webhook that asks for the event: once, however often it is told of it. Gives
 * how many. The jobs are in the commit of what remembers the event.
 */
export async function notifyWebhooks(event: SentEvent, consumer: string, context: RequestContext): Promise<number> {
  if (!(await isAwaited(event.type))) return 0
  return transaction(context, async (tx) => {
    if (!(await oncePerEvent(tx, consumer, event.id))) return 0
    const ids = await webhooksFor(tx, event)
    await Promise.all(
      ids.map((webhookId) => submitJob({ type: 'deliver-webhook', payload: { webhookId, event } }, context, tx)),
    )
    return ids.length
  })
}

/**
 * Whoever has made a webhook, or enabled it again, does not ask for what was long before: those who read the log may be far behind. An
 * event bears the time at which its transaction began, so it may look older than that and still be newer; no transaction takes a minute.
 * None was enabled later than now: one that says so was made while the clock was ahead.
 */
async function webhooksFor(tx: Sql, { type, time }: SentEvent): Promise<string[]> {
  const rows = await tx<Array<{ id: string }>>`
    select id from webhooks
    where enabled and ${type} = any(events)
      and least(enabled_at, now()) <= coalesce(${time ?? null}::timestamptz, now()) + interval '1 minute'
    order by id`
  return rows.map(({ id }) => id)
}
