import { describe, expect, it, vi } from 'vitest'
import { call, expectNoEffect, functionNamed, sql } from '#testing'
import deleteWebhook from './index.ts'

// Every webhook that is created waits for this time.
vi.mock('../../shared/webhooks/list-age.ts', () => ({ LIST_AGE_MAX_MS: 10 }))

const createWebhook = await functionNamed('create-webhook')
const make = async () =>
  (await call(createWebhook, { body: { url: 'https://shop.example/', events: ['stock.low'] } })).body.id
const remove = (webhookId: string) => call(deleteWebhook, { params: { webhookId } })

describe('delete-webhook', () => {
  it('deletes a webhook, and its secret with it', async () => {
    const [id, other] = [await make(), await make()]
    const { status, body, headers } = await remove(id)
    expect([status, body]).toEqual([204, undefined])
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(await sql`select id from webhooks`).toEqual([{ id: other }])
  })

  it('answers 404 for a webhook that is not there, or no longer', async () => {
    const id = await make()
    await remove(id)
    for (const missing of [id, crypto.randomUUID()]) {
      const answer = await expectNoEffect(() => remove(missing))
      expect(answer).toMatchObject({ status: 404, body: { code: 'webhook_not_found' } })
    }
  })

  it('deletes once when ten try at once', async () => {
    const id = await make()
    const statuses = (await Promise.all(Array.from({ length: 10 }, () => remove(id)))).map(({ status }) => status)
    expect(statuses.sort()).toEqual([204, ...Array.from({ length: 9 }, () => 404)])
  })
})
