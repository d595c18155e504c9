import { afterAll, describe, expect, it } from 'vitest'
import { eventRequest } from '#function'
import { expectConsistent, expectNoEffect, expire, hold, inRivalSession, newProduct, sql, stockAt } from '#testing'
import expireReservations from './index.ts'

async function tick() {
  const attributes = { id: 'tick', source: 'test', specversion: '1.0', type: 'schedule.tick' } as const
  const response = await expireReservations.app.fetch(eventRequest(attributes, {}))
  return { status: response.status, body: (await response.json()) as { expired: number } }
}

afterAll(expectConsistent)

describe('expire-reservations', () => {
  it('ends the holds past their deadline and gives their stock back, at every location', async () => {
    const [one, two] = [await newProduct({ initialStock: 10 }), await newProduct({ initialStock: 10 })]
    await stockAt(one.id, 'second', 5)
    const lines = [
      { productId: one.id, quantity: 2 },
      { productId: one.id, quantity: 5, location: 'second' },
      { productId: two.id, quantity: 3 },
    ]
    const overdue = await hold(lines, { reference: 'order-1' })
    const held = await hold([{ productId: one.id, quantity: 1 }])
    await expire(overdue.id)
    expect(await tick()).toEqual({ status: 200, body: { expired: 1 } })
    const states = await sql`select id, state from reservations order by id`
    expect(states).toEqual([
      { id: overdue.id, state: 'expired' },
      { id: held.id, state: 'held' },
    ])
    expect(await sql`select sum(reserved)::int as reserved from stock_levels`).toEqual([{ reserved: 1 }])
    const movements = await sql`
      select location, reserved_delta, actor from stock_movements where type = 'expired' order by location, reserved_delta`
    expect(movements).toEqual([
      { location: 'main', reserved_delta: -3, actor: 'function:expire-reservations' },
      { location: 'main', reserved_delta: -2, actor: 'function:expire-reservations' },
      { location: 'second', reserved_delta: -5, actor: 'function:expire-reservations' },
    ])
    expect(await sql`select type from outbox where type = 'stock.expired'`).toHaveLength(3)
  })

  it('has nothing to do the second time', async () => {
    expect((await expectNoEffect(tick)).body).toEqual({ expired: 0 })
  })

  it('ends more holds than one batch takes, each once, when several run at once', async () => {
    const products = await Promise.all(Array.from({ length: 5 }, () => newProduct({ initialStock: 1_000 })))
    const ids: string[] = []
    for (let batch = 0; batch < 13; batch++) {
      const made = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          hold([
            { productId: products[index % 5]?.id ?? '', quantity: 1 },
            { productId: products[(index + 1) % 5]?.id ?? '', quantity: 1 },
          ]),
        ),
      )
      ids.push(...made.map(({ id }) => id))
    }
    await expire(...ids)
    const ticks = await Promise.all([tick(), tick(), tick()])
    expect(ticks.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(ticks.reduce((sum, { body }) => sum + body.expired, 0)).toBe(650)
    expect(await sql`select 1 from reservations where state = 'held' and expires_at <= now()`).toEqual([])
  })

  it('passes over a hold that another session has locked, and ends the rest', async () => {
    const { id: productId } = await newProduct({ initialStock: 10 })
    const [locked, free] = [await hold([{ productId, quantity: 1 }]), await hold([{ productId, quantity: 1 }])]
    await expire(locked.id, free.id)
    await inRivalSession(async (rival) => {
      await rival`select 1 from reservations where id = ${locked.id} for update`
      expect((await tick()).body).toEqual({ expired: 1 })
    })
    expect((await tick()).body).toEqual({ expired: 1 })
  })
})
