import { lookup } from 'node:dns'
import { askPrimary, type RequestContext, requireAskedFor, transaction } from '#database'
import { ServiceError } from '#errors'
import { counter, currentTrace, failSpan, histogram, inSpan, logger, tracing } from '#telemetry'
import { isClosed, receiverOf, recordRequest } from './circuit-breaker.ts'
import type { DeliveryPayload } from './delivery-payload.ts'
import { type Posted, type PostOptions, post } from './post.ts'
import { sign } from './secret.ts'
import { allowsPrivate } from './settings.ts'

/** The longest that the specification allows a receiver. */
const TIMEOUT_MS = 15_000

const deliveries = counter('webhook_deliveries_total', 'Attempts to deliver an event to a webhook, by outcome.', [
  'outcome',
])
const durations = histogram('webhook_delivery_duration_seconds', 'Time until a webhook answered, or the attempt ended.')

type Delivery =
  | { delivered: true; status: number }
  | { delivered: false; reason: 'webhook_deleted' | 'webhook_disabled' }

/**
 * Sends an event to a webhook, as CloudEvents JSON with the signature of https://www.standardwebhooks.com. Sends nothing, and succeeds, if the
 * webhook is deleted or disabled. Throws `webhook_gone` if the receiver answers 410, which disables the webhook, and `bad_gateway` for any other
 * failure, which is worth another attempt.
 */
export async function deliverWebhook(
  { webhookId, event }: DeliveryPayload,
  context: RequestContext,
  options: Partial<PostOptions> = {},
): Promise<Delivery> {
  const webhook = await findTarget(webhookId)
  if (!webhook?.enabled) {
    const reason = webhook ? 'webhook_disabled' : 'webhook_deleted'
    deliveries.inc({ outcome: reason })
    return { delivered: false, reason }
  }
  const receiver = receiverOf(webhook)
  if (!isClosed(receiver)) {
    deliveries.inc({ outcome: 'circuit_open' })
    throw new ServiceError('bad_gateway', 'The receiver has not answered lately, and is asked again in a while.')
  }
  const body = JSON.stringify({ specversion: '1.0', datacontenttype: 'application/json', ...event })
  // The id is the same at every attempt, so that the receiver can detect repetitions.
  const id = `msg_${event.id}_${webhookId}`
  const timestamp = Math.floor(Date.now() / 1000)
  const headers = {
    'content-type': 'application/cloudevents+json',
    'user-agent': 'stock-management-service',
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    // The receiver needs only one valid signature: during a rotation it may know the last secret, or the new one.
    'webhook-signature': [webhook.secret, ...webhook.previousSecrets]
      .map((secret) => sign(secret, id, timestamp, body))
      .join(' '),
  }
  const defaults = { timeoutMs: TIMEOUT_MS, lookup, allowsPrivate: allowsPrivate() }
  const endTimer = durations.startTimer()
  const url = new URL(webhook.url)
  const posted = await inSpan('POST', { kind: 'client', attributes: spanAttributes(webhookId, url) }, () =>
    sendOn(context, (trace) => post(url, { ...headers, ...trace }, body, { ...defaults, ...options })),
  )
  endTimer()
  recordRequest(receiver, posted.outcome !== 'timed_out')
  const outcome = outcomeOf(posted)
  deliveries.inc({ outcome })
  if (outcome === 'gone') await disable(webhook, context)
  return { delivered: true, status: requireSuccess(posted) }
}

/** Without the URL's path and query, which may contain a secret. */
function spanAttributes(webhookId: string, { hostname, port, protocol }: URL) {
  return {
    'http.request.method': 'POST',
    'server.address': hostname,
    'server.port': Number(port || (protocol === 'https:' ? 443 : 80)),
    'url.scheme': protocol.slice(0, -1),
    'webhook.id': webhookId,
  }
}

/** Sends the request with the trace that leads to it, and records the outcome in its span. */
async function sendOn(
  context: RequestContext,
  send: (trace: Record<string, string>) => Promise<Posted>,
): Promise<Posted> {
  const { traceparent, tracestate } = currentTrace() ?? context.trace
  const posted = await send({ traceparent, ...(tracestate && { tracestate }) })
  const span = tracing()?.current()
  if (posted.outcome === 'answered') span?.setAttribute('http.response.status_code', posted.status)
  if (span && outcomeOf(posted) !== 'delivered') failSpan(span, { code: outcomeOf(posted), message: '' })
  return posted
}

interface Target {
  id: string
  url: string
  secret: string
  /** The secrets from before a rotation, as long as they are valid. */
  previousSecrets: string[]
  enabled: boolean
  /** As text, because a Date has fewer digits. */
  enabledAt: string
}

/** Reads the primary, because a replica may still have a deleted webhook. */
async function findTarget(id: string): Promise<Target | undefined> {
  const [webhook] = await askPrimary(
    (sql) => sql<Target[]>`
    select id, url, secret, case when previous_secrets_until > now() then previous_secrets else '{}' end as "previousSecrets",
           enabled, enabled_at::text as "enabledAt"
    from webhooks where id = ${id}`,
  )
  if (webhook) requireAskedFor(webhook.id === id, 'webhook')
  return webhook
}

/**
 * Disables the webhook only if it is as it was at the request: the 410 says nothing about another URL, nor about a webhook that was enabled again
 * meanwhile.
 */
async function disable({ id, url, enabledAt }: Target, context: RequestContext): Promise<void> {
  const { count } = await transaction(
    context,
    (tx) => tx`
      update webhooks set enabled = false, disabled_reason = 'gone'
      where id = ${id} and url = ${url} and enabled and enabled_at = ${enabledAt}::timestamptz`,
  )
  if (count > 0) logger().warn({ webhook: id }, 'webhook disabled: its receiver answered 410')
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
