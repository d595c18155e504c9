import { beforeEach, describe, expect, it, vi } from 'vitest'
import { call, expectNoEffect, sql } from '#testing'
import createWebhook from './index.ts'

// Every webhook that is created waits for this time.
vi.mock('../../shared/webhooks/list-age.ts', () => ({ LIST_AGE_MAX_MS: 10 }))

const fit = { url: 'https://shop.example/hooks?shop=1', events: ['stock.low', 'reservation.expired'] }
const send = (members: object = {}, headers = {}) => call(createWebhook, { body: { ...fit, ...members }, headers })

beforeEach(async () => {
  await sql`truncate webhooks`
})

describe('create-webhook', () => {
  it('makes a webhook, and shows the secret that signs its events', async () => {
    const { status, body, headers } = await send()
    expect(status).toBe(201)
    expect(headers.get('location')).toBe(`/v1/webhooks/${body.id}`)
    expect(body).toEqual({
      ...fit,
      id: body.id,
      enabled: true,
      disabledReason: null,
      createdAt: body.createdAt,
      secret: body.secret,
    })
    expect(body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect((await send()).body.secret).not.toBe(body.secret)
  })

  it('makes one under an idempotency key, whose repeat shows no secret, and no record has it', async () => {
    const headers = { 'idempotency-key': 'hook-1' }
    const first = await send({}, headers)
    const second = await expectNoEffect(() => send({}, headers))
    const { secret, ...shown } = first.body
    expect(secret).toBeTruthy()
    expect([second.status, second.headers.get('location')]).toEqual([201, first.headers.get('location')])
    expect(second.body).toEqual(shown)
    const records = await sql`select idempotency_keys::text as text from idempotency_keys`
    expect(records.length).toBeGreaterThan(0)
    expect(JSON.stringify([...records])).not.toContain(secret)
  })

  it('takes every type of event', async () => {
    const events = [
      'product.created',
      'product.updated',
      'product.deleted',
      'stock.adjusted',
      'stock.reserved',
      'stock.released',
      'stock.expired',
      'stock.confirmed',
      'stock.counted',
      'stock.low',
      'stock.out',
      'stock.back',
      'reservation.expired',
    ]
    expect((await send({ events })).body.events).toEqual(events)
  })

  it('makes a hundred and no more, however many are asked for at once', async () => {
    await sql`
      insert into webhooks (id, url, events, secret)
      select gen_random_uuid(), 'https://shop.example', '{stock.low}', 'whsec_x' from generate_series(1, 97)`
    const statuses = (await Promise.all(Array.from({ length: 8 }, () => send()))).map(({ status }) => status)
    expect(statuses.sort()).toEqual([201, 201, 201, 409, 409, 409, 409, 409])
    const refused = await expectNoEffect(() => send())
    expect(refused.body).toMatchObject({ code: 'too_many_webhooks' })
  })

  it.each([
    ['url', { url: undefined }],
    ['url', { url: '' }],
    ['url', { url: '/hooks' }],
    ['url', { url: 'shop.example' }],
    ['url', { url: 'ftp://shop.example/' }],
    ['url', { url: 'https:shop.example' }],
    ['url', { url: 'https://' }],
    ['url', { url: 'https://a b.example/' }],
    ['url', { url: ' https://shop.example/' }],
    ['url', { url: 'https://shop.example/\u0000' }],
    ['url', { url: 'https://shop.example/\n' }],
    ['url', { url: 'https://shop.example/ü' }],
    ['url', { url: 'https://user@shop.example/' }],
    ['url', { url: 'https://user:password@shop.example/' }],
    ['url', { url: 'https://:password@shop.example/' }],
    ['url', { url: 'https://shop.example:99999/' }],
    ['url', { url: `https://shop.example/${'x'.repeat(2_048)}` }],
    ['url', { url: 'http://localhost:3000/' }],
    ['url', { url: 'http://127.0.0.1/' }],
    ['url', { url: 'http://2130706433/' }],
    ['url', { url: 'http://169.254.169.254/latest/meta-data' }],
    ['url', { url: 'http://[::1]/' }],
    ['url', { url: 'http://[::ffff:10.0.0.1]/' }],
    ['url', { url: 'https://redis/' }],
    ['events', { events: undefined }],
    ['events', { events: [] }],
    ['events', { events: 'stock.low' }],
    ['events', { events: ['stock.low', 'stock.low'] }],
    ['events.1', { events: ['stock.low', 'stock.gone'] }],
    ['events.0', { events: ['constructor'] }],
    ['secret', { secret: 'whsec_mine' }],
    ['id', { id: crypto.randomUUID() }],
  ])('refuses a wrong %s: %j', async (path, members) => {
    const answer = await expectNoEffect(() => send(members))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
