import { afterEach, describe, expect, it } from 'vitest'
import { systemContext } from '#database'
import { adjustStock, confirm, extend, getStock, release, sweepReservations } from '#stock'
import { renderMetrics } from '#telemetry'
import { blocked, expectConsistent, expire, hold, inRivalSession, newProduct, sql, stockAt } from '#testing'

const context = () => systemContext('function:test')

/** The outcome of each: `done`, or the code of the refusal. */
async function outcomes(work: Array<Promise<unknown>>): Promise<string[]> {
  const settled = await Promise.allSettled(work)
  return settled.map((result) =>
    result.status === 'fulfilled' ? 'done' : (result.reason.code ?? String(result.reason)),
  )
}

/** A hold by a client that tries again after `overloaded` or `busy`, as `Retry-After` asks. */
async function patiently(...request: Parameters<typeof hold>): ReturnType<typeof hold> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await hold(...request)
    } catch (error) {
      if (attempt === 20 || !['overloaded', 'busy'].includes((error as { code: string }).code)) throw error
    }
  }
}

function tally(codes: string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const code of codes) counts[code] = (counts[code] ?? 0) + 1
  return counts
}

async function deadlocks(): Promise<number> {
  const line = (await renderMetrics()).match(/database_transaction_retries_total\{reason="deadlock_detected"\} (\d+)/)
  return Number(line?.[1] ?? 0)
}

const times = <Result>(count: number, make: (index: number) => Result) =>
  Array.from({ length: count }, (_, index) => make(index))
const stateOf = async (id: string) => (await sql`select state from reservations where id = ${id}`)[0]?.state

afterEach(expectConsistent)

describe('stock is never oversold', () => {
  it('by 400 that want one each of 100', async () => {
    const { id } = await newProduct({ initialStock: 100 })
    const codes = await outcomes(times(400, () => patiently([{ productId: id, quantity: 1 }])))
    expect(tally(codes)).toEqual({ done: 100, insufficient_stock: 300 })
    expect(await getStock(id, context())).toMatchObject({ onHand: 100, reserved: 100, available: 0 })
  })

  it('by many that want different amounts: what is left is less than the least that was refused', async () => {
    const { id } = await newProduct({ initialStock: 200 })
    const amounts = times(150, (index) => 1 + (index % 5))
    const codes = await outcomes(amounts.map((quantity) => hold([{ productId: id, quantity }])))
    const sold = amounts.filter((_, index) => codes[index] === 'done').reduce((sum, quantity) => sum + quantity, 0)
    const { available } = await getStock(id, context())
    expect(available).toBe(200 - sold)
    for (const [index, code] of codes.entries()) if (code !== 'done') expect(amounts[index]).toBeGreaterThan(available)
  })

  it('by holds over several products and locations: each is whole or not at all', async () => {
    const products = await Promise.all(times(5, () => newProduct({ initialStock: 20 })))
    for (const { id } of products) await stockAt(id, 'second', 10)
    const codes = await outcomes(
      times(150, (index) =>
        hold([
          { productId: products[index % 5]?.id ?? '', quantity: 1 },
          { productId: products[(index * 2 + 1) % 5]?.id ?? '', quantity: 2 },
        ]),
      ),
    )
    expect(Object.keys(tally(codes)).sort()).toEqual(['done', 'insufficient_stock'])
    const [row] = await sql`
      select count(*)::int as reservations, (select sum(quantity)::int from reservation_lines where reservation_id in (
        select id from reservations where state = 'held')) as quantity
      from reservations where id in (
        select reservation_id from reservation_lines where product_id in ${sql(products.map(({ id }) => id))})`
    expect(row?.reservations).toBe(codes.filter((code) => code === 'done').length)
  })

  it('by reservations and write-offs together', async () => {
    const { id } = await newProduct({ initialStock: 50 })
    const work = times(60, (index) =>
      index % 2
        ? hold([{ productId: id, quantity: 1 }])
        : adjustStock(id, { quantity: -1, reason: 'lost', location: 'main' }, context()),
    )
    expect(tally(await outcomes(work))).toEqual({ done: 50, insufficient_stock: 10 })
    const { onHand, reserved, available } = await getStock(id, context())
    expect([onHand, available]).toEqual([reserved, 0])
  })

  it('even by code that forgets to look: the database refuses it', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    for (const broken of [
      sql`update stock_levels set reserved = 6 where product_id = ${id}`,
      sql`update stock_levels set on_hand = -1 where product_id = ${id}`,
      sql`update stock_levels set reserved = -1 where product_id = ${id}`,
    ]) {
      await expect(broken).rejects.toThrow('never_oversold')
    }
  })
})

describe('locks', () => {
  it('are taken in one order: holds that name products in opposite orders never deadlock', async () => {
    const [a, b, c] = await Promise.all(times(3, () => newProduct({ initialStock: 1_000 })))
    const ids = [a?.id ?? '', b?.id ?? '', c?.id ?? '']
    const before = await deadlocks()
    const codes = await outcomes(
      times(120, (index) => {
        const lines = ids.map((productId) => ({ productId, quantity: 1 }))
        return hold(index % 2 ? lines : lines.reverse())
      }),
    )
    expect(tally(codes)).toEqual({ done: 120 })
    expect(await deadlocks()).toBe(before)
  })

  it('are taken in one order by everything that changes stock', async () => {
    const products = await Promise.all(times(4, () => newProduct({ initialStock: 1_000 })))
    const at = (index: number) => products[index % 4]?.id ?? ''
    const lines = (index: number) => [
      { productId: at(index), quantity: 1 },
      { productId: at(index + 1), quantity: 1 },
      { productId: at(index + 3), quantity: 1 },
    ]
    const held = await Promise.all(times(45, (index) => hold(lines(index))))
    await expire(...held.slice(30).map(({ id }) => id))
    const before = await deadlocks()
    const codes = await outcomes([
      ...held.slice(0, 15).map(({ id }) => confirm(id, {}, context())),
      ...held.slice(15, 30).map(({ id }) => release(id, context())),
      ...times(3, () => sweepReservations(context())),
      ...times(20, (index) => hold(lines(index), { holder: 'h', reference: `r${index % 3}` })),
      ...times(20, (index) => adjustStock(at(index), { quantity: 1, reason: 'received' }, context())),
      ...held.slice(0, 30).map(({ id }) => extend(id, { ttlSeconds: 60 }, context()).catch(() => {})),
    ])
    expect(tally(codes)).toEqual({ done: codes.length })
    expect(await deadlocks()).toBe(before)
  })
})

describe('a reservation ends in one way only', () => {
  async function held() {
    const { id: productId } = await newProduct({ initialStock: 10 })
    return { productId, id: (await hold([{ productId, quantity: 3 }])).id }
  }

  it('when it is confirmed and released at once', async () => {
    for (let round = 0; round < 15; round++) {
      const { id, productId } = await held()
      const codes = await outcomes([confirm(id, {}, context()), release(id, context())])
      const state = await stateOf(id)
      expect(codes).toEqual(state === 'confirmed' ? ['done', 'not_held'] : ['not_held', 'done'])
      expect((await getStock(productId, context())).onHand).toBe(state === 'confirmed' ? 7 : 10)
    }
  })

  it('when it is confirmed at the moment of its deadline, swept or taken over by another', async () => {
    for (let round = 0; round < 15; round++) {
      const { id, productId } = await held()
      const [confirmed, , , taken] = await outcomes([
        confirm(id, {}, context()),
        expire(id),
        sweepReservations(context()),
        hold([{ productId, quantity: 8 }]),
      ])
      await sweepReservations(context())
      const state = await stateOf(id)
      expect([confirmed, state]).toEqual(
        confirmed === 'done' ? ['done', 'confirmed'] : ['reservation_expired', 'expired'],
      )
      if (confirmed === 'done') expect(taken).toBe('insufficient_stock')
    }
  })

  it.each([
    ['confirmed', confirm, 'reservation_expired'],
    ['released', (id: string, _: object, by: ReturnType<typeof context>) => release(id, by), 'not_held'],
  ])('when the deadline passes while it waits to be %s', async (_, settle, code) => {
    const { id, productId } = await held()
    await inRivalSession(async (rival) => {
      await rival`select 1 from stock_levels where product_id = ${productId} for update`
      // The request began before the deadline, and checks the deadline again once it has its locks.
      const settling = outcomes([settle(id, {}, context())])
      await blocked()
      await expire(id)
      await rival`rollback`
      expect(await settling).toEqual([code])
    })
    // The request has ended the hold, which it had locked.
    expect(await stateOf(id)).toBe('expired')
  })

  it('when the deadline is moved while it waits to be extended', async () => {
    const { id } = await held()
    await inRivalSession(async (rival) => {
      await rival`update reservations set expires_at = now() - interval '1 minute' where id = ${id}`
      await rival`update reservation_lines set held_until = now() - interval '1 minute' where reservation_id = ${id}`
      const extending = outcomes([extend(id, { ttlSeconds: 600 }, context())])
      await blocked()
      await rival`commit`
      expect(await extending).toEqual(['not_held'])
    })
  })

  it('when it is extended at the moment of its deadline', async () => {
    for (let round = 0; round < 15; round++) {
      const { id } = await held()
      const [extended] = await outcomes([
        extend(id, { ttlSeconds: 600 }, context()),
        expire(id).then(() => sweepReservations(context())),
      ])
      expect(['done', 'not_held']).toContain(extended)
      // The first sweep may have skipped the reservation while it was locked.
      await sweepReservations(context())
      expect(await stateOf(id)).toBe('expired')
    }
  })

  it('when it is replaced and confirmed at once', async () => {
    for (let round = 0; round < 15; round++) {
      const { id: productId } = await newProduct({ initialStock: 5 })
      const cart = { holder: 'shopper', reference: `cart-${round}` }
      const { id } = await hold([{ productId, quantity: 5 }], cart)
      const [confirmed, replaced] = await outcomes([
        confirm(id, {}, context()),
        hold([{ productId, quantity: 5 }], cart),
      ])
      expect([confirmed, replaced]).toEqual(
        confirmed === 'done' ? ['done', 'insufficient_stock'] : ['not_held', 'done'],
      )
    }
  })
})

describe('a reader', () => {
  it('never sees more reserved than on hand, nor half of a change', async () => {
    const { id } = await newProduct({ initialStock: 20 })
    await stockAt(id, 'second', 20)
    let done = false
    const writing = Promise.allSettled(
      times(60, async (index) => {
        const { id: reservationId } = await hold([
          { productId: id, quantity: 1, location: 'main' },
          { productId: id, quantity: 1, location: 'second' },
        ])
        return index % 2 ? confirm(reservationId, {}, context()) : release(reservationId, context())
      }),
    ).then(() => {
      done = true
    })
    let looks = 0
    while (!done) {
      const { locations } = await getStock(id, context())
      const [main, second] = locations
      expect([main?.onHand, main?.reserved]).toEqual([second?.onHand, second?.reserved])
      expect(main?.available).toBeGreaterThanOrEqual(0)
      looks++
    }
    await writing
    expect(looks).toBeGreaterThan(0)
  })
})
