import { beforeEach, describe, expect, it, vi } from 'vitest'
import { call, expectNoEffect, functionNamed, sql } from '#testing'
import rotateWebhookSecret from './index.ts'

// Every webhook that is created waits for this time.
vi.mock('../../shared/webhooks/list-age.ts', () => ({ LIST_AGE_MAX_MS: 10 }))

const createWebhook = await functionNamed('create-webhook')
const listWebhooks = await functionNamed('list-webhooks')

const make = async (): Promise<{ id: string; secret: string }> =>
  (await call(createWebhook, { body: { url: 'https://shop.example/hooks', events: ['stock.low'] } })).body
const rotate = (webhookId: string, headers: Record<string, string> = {}) =>
  call(rotateWebhookSecret, { params: { webhookId }, headers })
const kept = async (id: string) =>
  (await sql`select secret, previous_secrets as "previous" from webhooks where id = ${id}`)[0]

beforeEach(async () => {
  await sql`truncate webhooks`
})

describe('rotate-webhook-secret', () => {
  it('makes another secret, which this answer alone shows, and keeps the one before for a day', async () => {
    const [webhook, other] = [await make(), await make()]
    const { status, body } = await rotate(webhook.id)
    expect(status).toBe(200)
    expect(body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(body.secret).not.toBe(webhook.secret)
    const hours = (Date.parse(body.previousSecretsUntil) - Date.now()) / 3_600_000
    expect([hours > 23.9, hours < 24.1]).toEqual([true, true])
    expect(await kept(webhook.id)).toEqual({ secret: body.secret, previous: [webhook.secret] })
    expect(await kept(other.id)).toEqual({ secret: other.secret, previous: [] })
    expect(JSON.stringify((await call(listWebhooks)).body)).not.toContain('whsec_')
  })

  it('keeps four: an answer that was lost takes no secret from its receiver', async () => {
    const { id, secret } = await make()
    const secrets = [secret]
    for (let times = 0; times < 5; times++) secrets.unshift((await rotate(id)).body.secret)
    expect(await kept(id)).toEqual({ secret: secrets[0], previous: secrets.slice(1, 5) })
  })

  it('forgets those whose day is over', async () => {
    const { id } = await make()
    const { body: second } = await rotate(id)
    await sql`update webhooks set previous_secrets_until = now() - interval '1 s'`
    const { body: third } = await rotate(id)
    expect(await kept(id)).toEqual({ secret: third.secret, previous: [second.secret] })
  })

  it('changes nothing when it is repeated under an idempotency key, shows no secret then, and no record has it', async () => {
    const { id } = await make()
    const headers = { 'idempotency-key': 'rotate-1' }
    const first = await rotate(id, headers)
    const second = await expectNoEffect(() => rotate(id, headers))
    expect(second.body).toEqual({ previousSecretsUntil: first.body.previousSecretsUntil })
    const records = await sql`select idempotency_keys::text as text from idempotency_keys`
    expect(JSON.stringify([...records])).not.toContain('whsec_')
  })

  it('knows no webhook that is not there', async () => {
    const answer = await expectNoEffect(() => rotate(crypto.randomUUID()))
    expect(answer).toMatchObject({ status: 404, body: { code: 'webhook_not_found' } })
  })
})
