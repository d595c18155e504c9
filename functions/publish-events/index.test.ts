import { describe, expect, it } from 'vitest'
import { eventRequest } from '#function'
import { expectConsistent, newProduct, sql } from '#testing'
import publishEvents from './index.ts'

async function tick() {
  const attributes = { id: 'tick', source: 'test', specversion: '1.0', type: 'schedule.tick' } as const
  const response = await publishEvents.app.fetch(eventRequest(attributes, {}))
  return { status: response.status, body: await response.json() }
}

describe('publish-events', () => {
  it('moves what is in the outbox into the log, once', async () => {
    const { id } = await newProduct({ initialStock: 3 })
    expect(await tick()).toEqual({ status: 200, body: { published: 2 } })
    expect(await tick()).toEqual({ status: 200, body: { published: 0 } })
    const events = await sql`select topic, type, product_id, version from event_log order by position`
    expect([...events]).toEqual([
      { topic: 'product-events', type: 'product.created', product_id: id, version: 1 },
      { topic: 'stock-events', type: 'stock.adjusted', product_id: id, version: 2 },
    ])
    expect(await sql`select 1 from outbox`).toHaveLength(0)
    await expectConsistent()
  })
})
