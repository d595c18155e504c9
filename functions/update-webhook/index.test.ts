import { beforeEach, describe, expect, it, vi } from 'vitest'
import { call, expectNoEffect, functionNamed, sql } from '#testing'
import updateWebhook from './index.ts'

// Every webhook that is created waits for this time.
vi.mock('../../shared/webhooks/list-age.ts', () => ({ LIST_AGE_MAX_MS: 10 }))

const createWebhook = await functionNamed('create-webhook')
const listWebhooks = await functionNamed('list-webhooks')

const make = async () => {
  const { secret: _, ...webhook } = (
    await call(createWebhook, { body: { url: 'https://shop.example/hooks', events: ['stock.low'] } })
  ).body
  return webhook
}
const patch = (webhookId: string, body?: unknown, headers: Record<string, string> = {}) =>
  call(updateWebhook, { params: { webhookId }, body, headers })
const goneBy = (id: string) => sql`update webhooks set enabled = false, disabled_reason = 'gone' where id = ${id}`

beforeEach(async () => {
  await sql`truncate webhooks`
})

describe('update-webhook', () => {
  it.each([
    [{ url: 'https://other.example/' }],
    [{ events: ['stock.back', 'product.created'] }],
    [{ enabled: false }],
    [{ url: 'https://other.example/', events: ['stock.out'], enabled: true }],
    [{}],
  ])('changes what is named, and nothing else: %j', async (body) => {
    const [webhook, other] = [await make(), await make()]
    expect(webhook).toMatchObject({ enabled: true, disabledReason: null })
    const answer = await patch(webhook.id, body)
    expect([answer.status, answer.body]).toEqual([200, { ...webhook, ...body }])
    expect((await call(listWebhooks)).body.items).toEqual([other, { ...webhook, ...body }])
  })

  it('keeps the secret, and shows it to nobody', async () => {
    const { id } = await make()
    const secret = async () => (await sql`select secret from webhooks where id = ${id}`)[0]?.secret
    const before = await secret()
    const { body } = await patch(id, { url: 'https://other.example/' })
    expect([body.secret, await secret()]).toEqual([undefined, before])
  })

  it('brings back one whose receiver has gone, but only when it is told to', async () => {
    const { id } = await make()
    await goneBy(id)
    const moved = await patch(id, { url: 'https://other.example/' })
    expect(moved.body).toMatchObject({ enabled: false, disabledReason: 'gone' })
    expect((await patch(id, { enabled: false })).body).toMatchObject({ enabled: false, disabledReason: 'gone' })
    expect((await patch(id, { enabled: true })).body).toMatchObject({ enabled: true, disabledReason: null })
  })

  it('takes a merge patch under its own media type, and a repeat under its key', async () => {
    const { id } = await make()
    const headers = { 'content-type': 'application/merge-patch+json', 'idempotency-key': 'patch-1' }
    const first = await patch(id, { enabled: false }, headers)
    const second = await expectNoEffect(() => patch(id, { enabled: false }, headers))
    expect([second.body, second.headers.get('idempotent-replayed')]).toEqual([first.body, 'true'])
  })

  it('answers 404 for a webhook that is not there', async () => {
    const answer = await expectNoEffect(() => patch(crypto.randomUUID(), { enabled: true }))
    expect(answer).toMatchObject({ status: 404, body: { code: 'webhook_not_found' } })
  })

  it.each([
    ['url', { url: null }],
    ['url', { url: 'shop.example' }],
    ['url', { url: 'http://127.0.0.1/' }],
    ['url', { url: 'https://user:password@shop.example/' }],
    ['events', { events: [] }],
    ['events', { events: ['stock.low', 'stock.low'] }],
    ['events.0', { events: ['stock.gone'] }],
    ['enabled', { enabled: null }],
    ['enabled', { enabled: 'yes' }],
    ['disabledReason', { disabledReason: null }],
    ['secret', { secret: 'whsec_mine' }],
  ])('refuses a wrong %s: %j', async (path, body) => {
    const { id } = await make()
    const answer = await expectNoEffect(() => patch(id, body))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
