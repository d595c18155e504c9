import { lookup } from 'node:dns'
import { type Caller, primary, requireAskedFor } from '#database'
import { ServiceError } from '#errors'
import type { PayloadOf } from '#jobs/schema'
import { counter, histogram } from '#telemetry'
import { type Posted, type PostOptions, post } from './post.ts'
import { sign } from './secret.ts'
import { allowsPrivate } from './settings.ts'
import { mayBeAsked, noteAnswer } from './silence.ts'

/** As long as the specification allows receivers, at the most. */
const TIMEOUT_MS = 15_000

const deliveries = counter(
  'webhook_deliveries_total',
  'Attempts to deliver an event to a webhook, by what came of it.',
  ['outcome'],
)
const durations = histogram('webhook_delivery_duration_seconds', 'Time until a webhook has answered, or has not.')

type Delivery = { delivered: true; status: number } | { delivered: false; reason: 'webhook_deleted' }

/**
 * Sends an event to a webhook, as CloudEvents JSON, signed as https://www.standardwebhooks.com has it. A webhook that is
 * deleted gets nothing, which is no failure. Throws `webhook_gone` for one that does not want to be sent anything any more, and
 * `bad_gateway` for whatever else is no success: it is worth another attempt.
 */
export async function deliverWebhook(
  { webhookId, event }: PayloadOf<'deliver-webhook'>,
  { trace }: Caller,
  options: Partial<PostOptions> = {},
): Promise<Delivery> {
  const webhook = await findTarget(webhookId)
  if (!webhook) {
    deliveries.inc({ outcome: 'webhook_deleted' })
    return { delivered: false, reason: 'webhook_deleted' }
  }
  if (!mayBeAsked(webhookId)) {
    deliveries.inc({ outcome: 'paused' })
    throw new ServiceError('bad_gateway', 'The receiver has not answered lately, and is asked again in a while.')
  }
  const body = JSON.stringify({ specversion: '1.0', datacontenttype: 'application/json', ...event })
  // The same for every attempt, so that the receiver can tell them from a new event.
  const id = `msg_${event.id}_${webhookId}`
  const timestamp = Math.floor(Date.now() / 1000)
  const headers = {
    'content-type': 'application/cloudevents+json',
    'user-agent': 'stock-management-service',
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': sign(webhook.secret, id, timestamp, body),
    traceparent: trace.traceparent,
  }
  const defaults = { timeoutMs: TIMEOUT_MS, lookup, allowsPrivate: allowsPrivate() }
  const endTimer = durations.startTimer()
  const posted = await post(new URL(webhook.url), headers, body, { ...defaults, ...options })
  endTimer()
  noteAnswer(webhookId, posted.outcome !== 'timed_out')
  deliveries.inc({ outcome: outcomeOf(posted) })
  return { delivered: true, status: requireSuccess(posted) }
}

/** From the primary: a replica may still have what is deleted. */
async function findTarget(id: string): Promise<{ url: string; secret: string } | undefined> {
  const [webhook] = await primary()<Array<{ id: string; url: string; secret: string }>>`
    select id, url, secret from webhooks where id = ${id}`
  if (webhook) requireAskedFor(webhook.id === id, 'webhook')
  return webhook
}

function outcomeOf(posted: Posted): string {
  if (posted.outcome !== 'answered') return posted.outcome
  if (isSuccess(posted.status)) return 'delivered'
  return posted.status === 410 ? 'gone' : 'refused'
}

function requireSuccess(posted: Posted): number {
  if (posted.outcome !== 'answered') throw new ServiceError('bad_gateway', posted.reason)
  if (isSuccess(posted.status)) return posted.status
  if (posted.status === 410) throw new ServiceError('webhook_gone', 'The receiver answered 410: it wants no more.')
  throw new ServiceError('bad_gateway', `The receiver answered ${posted.status}.`)
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300
}
