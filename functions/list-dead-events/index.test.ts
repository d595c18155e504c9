import { beforeEach, describe, expect, it } from 'vitest'
import { call, deadEvent, expectPaging, sql, walk } from '#testing'
import listDeadEvents from './index.ts'

beforeEach(async () => {
  await sql`truncate dead_events`
})

const idsOf = async (query: Record<string, string> = {}) =>
  (await call(listDeadEvents, { query })).body.items.map(({ id }: { id: string }) => id)

describe('list-dead-events', () => {
  it('gives the events that a group has refused, with the reason, newest first', async () => {
    const first = await deadEvent({ error: 'validation_failed: the moon is down' })
    const second = await deadEvent({ group: 'notify-webhooks' })
    const { status, body } = await call(listDeadEvents)
    expect(status).toBe(200)
    expect(body.nextCursor).toBeNull()
    expect(body.items.map(({ id }: { id: string }) => id)).toEqual([second.id, first.id])
    expect(body.items[1]).toEqual({
      ...first,
      group: 'detect-low-stock',
      topic: 'stock-events',
      type: 'stock.adjusted',
      productId: '01890a5d-ac96-774b-bcce-b302099a8057',
      version: 1,
      data: { productId: '01890a5d-ac96-774b-bcce-b302099a8057', version: 1 },
      error: 'validation_failed: the moon is down',
      attempts: 1,
      diedAt: expect.stringMatching(/Z$/),
    })
  })

  it('gives those of a group, of a topic, or those that the log refused', async () => {
    const [alert, update, hook, refused] = [
      await deadEvent(),
      await deadEvent({ topic: 'product-events' }),
      await deadEvent({ group: 'notify-webhooks' }),
      await deadEvent({ group: 'publish-events' }),
    ].map(({ id }) => id)
    expect(await idsOf()).toEqual([refused, hook, update, alert])
    expect(await idsOf({ group: 'detect-low-stock' })).toEqual([update, alert])
    expect(await idsOf({ group: 'detect-low-stock', topic: 'stock-events' })).toEqual([alert])
    expect(await idsOf({ topic: 'stock-events' })).toEqual([refused, hook, alert])
    expect(await idsOf({ group: '' })).toEqual([refused])
    expect(await idsOf({ group: 'nobody' })).toEqual([])
    const { body } = await call(listDeadEvents, { query: { group: '' } })
    expect(body.items[0].group).toBeNull()
  })

  it('leaves out what was redriven', async () => {
    await deadEvent()
    await sql`update dead_events set due_at = now()`
    expect((await call(listDeadEvents)).body).toEqual({ items: [], nextCursor: null })
  })

  it('is read in pages, each event once, while more of them die', async () => {
    const events = [await deadEvent(), await deadEvent(), await deadEvent()].map(({ id }) => id).reverse()
    await expectPaging(listDeadEvents)
    await expectPaging(listDeadEvents, { query: { group: 'detect-low-stock', topic: 'stock-events' } })
    const items = await walk(listDeadEvents, {}, 1, deadEvent)
    expect(items.map(({ id }) => id)).toEqual(events)
  })

  it.each(['group', 'topic'])('refuses an unfit %s', async (name) => {
    for (const value of ['x'.repeat(201), 'a\0b']) {
      const { status, body } = await call(listDeadEvents, { query: { [name]: value } })
      expect([status, body.code]).toEqual([422, 'validation_failed'])
    }
  })
})
