import { afterAll, describe, expect, it } from 'vitest'
import {
  call,
  expectConsistent,
  expectNoEffect,
  functionNamed,
  hold,
  inRivalSession,
  newProduct,
  sql,
  stockAt,
} from '#testing'
import countStock from './index.ts'

const count = (...counts: object[]) => call(countStock, { body: { counts } })

afterAll(expectConsistent)

describe('count-stock', () => {
  it('sets every balance to what was counted, with the variance in the ledger', async () => {
    const mug = await newProduct({ initialStock: 10 })
    const pan = await newProduct({ initialStock: 4 })
    const { status, body, headers } = await count(
      { productId: mug.id, counted: 7 },
      { sku: pan.sku, location: 'main', counted: 6 },
    )
    expect(status).toBe(200)
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(body).toEqual({
      counts: [
        { productId: mug.id, location: 'main', before: 10, counted: 7, variance: -3 },
        { productId: pan.id, location: 'main', before: 4, counted: 6, variance: 2 },
      ],
    })
    const ledger = await sql`
      select type, on_hand_delta, on_hand_after from stock_movements where product_id = ${mug.id} order by sequence desc limit 1`
    expect([...ledger]).toEqual([{ type: 'count', on_hand_delta: -3, on_hand_after: 7 }])
    const events = await sql`select type from outbox where product_id = ${pan.id} order by sequence desc limit 1`
    expect([...events]).toEqual([{ type: 'stock.counted' }])
  })

  it('writes nothing for a balance that was right', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    const { body } = await expectNoEffect(() => count({ productId: id, counted: 10 }))
    expect(body.counts).toEqual([{ productId: id, location: 'main', before: 10, counted: 10, variance: 0 }])
  })

  it('finds stock at a location where there was none', async () => {
    const other = await newProduct()
    await stockAt(other.id, 'attic', 1)
    const { id } = await newProduct()
    const { body } = await count({ productId: id, location: 'attic', counted: 3 })
    expect(body.counts).toEqual([{ productId: id, location: 'attic', before: 0, counted: 3, variance: 3 }])
  })

  it('changes nothing if one count is below what is held, and names it', async () => {
    const held = await newProduct({ initialStock: 10 })
    const other = await newProduct({ initialStock: 10 })
    await hold([{ productId: held.id, quantity: 6 }])
    const answer = await expectNoEffect(() =>
      count({ productId: other.id, counted: 1 }, { productId: held.id, counted: 5 }),
    )
    expect(answer.status).toBe(409)
    expect(answer.body).toMatchObject({
      code: 'count_below_reserved',
      short: [{ productId: held.id, location: 'main', counted: 5, reserved: 6 }],
    })
  })

  it('refuses the same product and location twice, by id or by sku', async () => {
    const { id, sku } = await newProduct({ initialStock: 1 })
    const answer = await expectNoEffect(() =>
      count({ productId: id, counted: 2 }, { sku, location: 'main', counted: 3 }),
    )
    expect(answer.status).toBe(422)
    expect(answer.body.errors).toEqual([{ path: 'counts.1', message: expect.stringContaining('again') }])
  })

  it('answers 404 for what is not there, and changes nothing', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    const nobody = '00000000-0000-7000-8000-00000000dead'
    for (const [line, code] of [
      [{ productId: nobody, counted: 1 }, 'product_not_found'],
      [{ sku: 'NOBODY', counted: 1 }, 'product_not_found'],
      [{ productId: id, location: 'nowhere', counted: 1 }, 'location_not_found'],
    ] as const) {
      const answer = await expectNoEffect(() => count({ productId: id, counted: 5 }, line))
      expect(answer.status).toBe(404)
      expect(answer.body.code).toBe(code)
    }
  })

  it('answers 503 busy where another session keeps the table, and changes nothing', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    await inRivalSession(async (rival) => {
      await rival`lock table stock_levels in row exclusive mode`
      const answer = await expectNoEffect(() => count({ productId: id, counted: 5 }))
      expect(answer.status).toBe(503)
      expect(answer.body.code).toBe('busy')
      expect(answer.headers.get('retry-after')).toBe('1')
    })
  })

  it('and reservations that race it leave every balance right, and nobody deadlocked out', async () => {
    const products = await Promise.all([newProduct({ initialStock: 500 }), newProduct({ initialStock: 500 })])
    const reserve = await functionNamed('reserve-stock')
    const lines = products.map(({ id }) => ({ productId: id, quantity: 1 }))
    const reserving = Array.from({ length: 200 }, (_, index) =>
      call(reserve, { body: { lines: index % 2 ? lines : [...lines].reverse() } }),
    )
    const counting = Array.from({ length: 10 }, (_, index) =>
      count(...products.map(({ id }) => ({ productId: id, counted: 500 + index }))),
    )
    expect((await Promise.all(reserving)).map(({ status }) => status)).toEqual(Array(200).fill(201))
    expect((await Promise.all(counting)).map(({ status }) => status)).toEqual(Array(10).fill(200))
  })
})
