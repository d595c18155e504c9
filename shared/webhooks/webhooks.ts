import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { type Page, type PageRequest, type RequestContext, read, readPage, type Sql, transaction } from '#database'
import { invalid, notFound, ServiceError } from '#errors'
import { newId } from '#ids'
import { securityEvent } from '#telemetry'
import { isPublicHost } from './addresses.ts'
import { LIST_AGE_MAX_MS } from './list-age.ts'
import type { CreateWebhookRequest, UpdateWebhookRequest, Webhook } from './schema.ts'
import { newSecret } from './secret.ts'
import { allowsPrivate } from './settings.ts'

/** One transaction submits a job for each webhook. */
const WEBHOOKS_MAX = 100

interface WebhookRow extends Omit<Webhook, 'createdAt'> {
  createdAt: Date
}

const toWebhook = ({ createdAt, ...row }: WebhookRow): Webhook => ({ ...row, createdAt: createdAt.toISOString() })

function webhookColumns(sql: Sql) {
  return sql`id, url, events, enabled, disabled_reason as "disabledReason", created_at as "createdAt"`
}

/**
 * Creates a webhook. It gets every event that it subscribes to and that is committed after the answer. Only the first answer contains `secret`, not
 * replayed ones. Throws `validation_failed` for a private address, or `too_many_webhooks`.
 *
 * @example
 * const { id, secret } = await createWebhook({ url: 'https://shop.example/hook', events: ['stock.low'] }, context)
 */
export async function createWebhook(
  { url, events }: z.infer<typeof CreateWebhookRequest>,
  context: RequestContext,
): Promise<Webhook & { secret?: string }> {
  requireAllowed(url)
  const secret = newSecret()
  const webhook = await transaction(context, async (tx) => {
    // Two concurrent creations must not both be the last one.
    await tx`lock table webhooks in share row exclusive mode`
    const [{ count }] = await tx<[{ count: number }]>`select count(*)::int as count from webhooks`
    if (count >= WEBHOOKS_MAX) {
      throw new ServiceError('too_many_webhooks', `There are ${count} webhooks already. Delete one first.`)
    }
    const [row] = await tx<[WebhookRow]>`
      insert into webhooks (id, url, events, secret) values (${newId()}, ${url}, ${events}, ${secret})
      returning ${webhookColumns(tx)}`
    return toWebhook(row)
  })
  if (!context.response.replayedFrom) {
    securityEvent('webhook_made', { actor: context.actor, webhook_id: webhook.id, host: new URL(url).host })
  }
  await sleep(LIST_AGE_MAX_MS)
  return context.response.replayedFrom ? webhook : { ...webhook, secret }
}

function requireAllowed(url: string): void {
  if (!allowsPrivate() && !isPublicHost(new URL(url))) throw invalid('url', 'must not lead to a private address')
}

/**
 * Changes the given members of a webhook. The old subscription applies until the answer, the new one to events committed after it. Events that a
 * disabled webhook missed are not sent later. Throws `webhook_not_found`, or `validation_failed` for a private address.
 */
export async function updateWebhook(
  id: string,
  { url, events, enabled }: z.infer<typeof UpdateWebhookRequest>,
  context: RequestContext,
): Promise<Webhook> {
  if (url !== undefined) requireAllowed(url)
  const webhook = await transaction(context, async (tx) => {
    const [row] = await tx<WebhookRow[]>`
      update webhooks
      set url = ${url ?? tx`url`}, events = ${events ?? tx`events`}, enabled = ${enabled ?? tx`enabled`},
          disabled_reason = ${enabled === true ? null : tx`disabled_reason`},
          enabled_at = ${enabled === true ? tx`case when enabled then enabled_at else clock_timestamp() end` : tx`enabled_at`}
      where id = ${id} returning ${webhookColumns(tx)}`
    if (!row) throw notFound('webhook', id)
    return toWebhook(row)
  })
  if (!context.response.replayedFrom) {
    securityEvent('webhook_changed', { actor: context.actor, webhook_id: id, host: new URL(webhook.url).host })
  }
  await sleep(LIST_AGE_MAX_MS)
  return webhook
}

/** A receiver that gets its new secret within a day misses nothing. */
const PREVIOUS_KEPT_HOURS = 24
/**
 * The most secrets from before a rotation that are kept. Each of them signs every delivery. There are several, because nobody knows a secret whose
 * answer was lost.
 */
const PREVIOUS_MAX = 4

/**
 * Gives a webhook a new secret. Only the first answer contains it, not replayed ones. Until `previousSecretsUntil`, deliveries are also signed with
 * the previous secrets. Throws `webhook_not_found`.
 */
export async function rotateSecret(
  id: string,
  context: RequestContext,
): Promise<{ secret?: string; previousSecretsUntil: string }> {
  const secret = newSecret()
  const previousSecretsUntil = await transaction(context, async (tx) => {
    const [row] = await tx<Array<{ until: Date }>>`
      update webhooks
      set secret = ${secret}, previous_secrets_until = now() + ${PREVIOUS_KEPT_HOURS}::int * interval '1 hour',
          previous_secrets = (array_prepend(secret,
            case when previous_secrets_until > now() then previous_secrets else '{}' end))[:${PREVIOUS_MAX}::int]
      where id = ${id} returning previous_secrets_until as until`
    if (!row) throw notFound('webhook', id)
    return row.until.toISOString()
  })
  if (context.response.replayedFrom) return { previousSecretsUntil }
  securityEvent('webhook_secret_rotated', { actor: context.actor, webhook_id: id })
  return { secret, previousSecretsUntil }
}

/** Webhooks, newest first. */
export function listWebhooks(page: PageRequest, context: RequestContext): Promise<Page<Webhook>> {
  return readPage(page, context, {
    kind: 'webhooks',
    keys: z.tuple([z.uuid()]),
    fetch: (after, limit) =>
      read(
        context,
        (sql) => sql<WebhookRow[]>`
          select ${webhookColumns(sql)} from webhooks
          where ${after ? sql`id < ${after[0]}` : sql`true`}
          order by id desc limit ${limit}`,
      ),
    keysOf: (row): [string] => [row.id],
    toItem: toWebhook,
  })
}

/** Deletes a webhook. Deliveries under way may still reach it. Throws `webhook_not_found`. */
export async function deleteWebhook(id: string, context: RequestContext): Promise<void> {
  await transaction(context, async (tx) => {
    const { count } = await tx`delete from webhooks where id = ${id}`
    if (count === 0) throw notFound('webhook', id)
  })
  securityEvent('webhook_deleted', { actor: context.actor, webhook_id: id })
}
