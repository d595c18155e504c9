import { beforeEach, describe, expect, it, vi } from 'vitest'
import { call, expectPaging, functionNamed, sql, walk } from '#testing'
import listWebhooks from './index.ts'

// Every webhook that is created waits for this time.
vi.mock('../../shared/webhooks/list-age.ts', () => ({ LIST_AGE_MAX_MS: 10 }))

const createWebhook = await functionNamed('create-webhook')
const make = async (url = 'https://shop.example/') =>
  (await call(createWebhook, { body: { url, events: ['stock.low'] } })).body

beforeEach(async () => {
  await sql`truncate webhooks`
})

describe('list-webhooks', () => {
  it('gives every webhook, newest first, and no secret of any', async () => {
    const [one, two] = [await make('https://one.example/'), await make('https://two.example/')]
    const { status, body } = await call(listWebhooks)
    expect(status).toBe(200)
    const shown = [two, one].map(({ secret, ...webhook }) => webhook)
    expect(body).toEqual({ items: shown, nextCursor: null })
    expect(JSON.stringify(body)).not.toContain('whsec_')
  })

  it('is read in pages', async () => {
    await Promise.all([make(), make(), make()])
    await expectPaging(listWebhooks)
  })

  it('gives each webhook that was there at the start exactly once, while others are made', async () => {
    await Promise.all(Array.from({ length: 7 }, () => make()))
    const before = (await sql`select id from webhooks order by id desc`).map(({ id }) => id)
    const items = await walk(listWebhooks, {}, 3, make)
    expect(items.map(({ id }) => id)).toEqual(before)
  })
})
