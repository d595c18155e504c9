import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, expire, functionNamed, hold, newProduct, sql, stockAt } from '#testing'
import setLimit from './index.ts'

const limit = (productId: string, body?: object) => call(setLimit, { params: { productId }, body })
const reserveStock = await functionNamed('reserve-stock')
const settle = async (reservationId: string, how: string, body?: object) =>
  call(await functionNamed(`${how}-reservation`), { params: { reservationId }, body })

/** A product with these limits, and plenty in stock. */
async function limited(limits: object, initialStock = 100): Promise<string> {
  const { id } = await newProduct({ initialStock })
  await limit(id, limits)
  return id
}

const reserve = (productId: string, quantity: number, more: object = {}) =>
  call(reserveStock, { body: { lines: [{ productId, quantity }], ...more } })
const passed = (productId: string, limitName: string, max: number, held: number, requested: number) => ({
  status: 409,
  body: { code: 'limit_exceeded', limits: [{ productId, limit: limitName, max, held, requested }] },
})

afterAll(expectConsistent)

describe('set-limit', () => {
  it('sets what is named, takes away what is null, and leaves the rest as it is', async () => {
    const { id } = await newProduct()
    for (const [body, expected] of [
      [{}, { perReservation: null, perHolder: null }],
      [{ perReservation: 2 }, { perReservation: 2, perHolder: null }],
      [{ perHolder: Number.MAX_SAFE_INTEGER }, { perReservation: 2, perHolder: Number.MAX_SAFE_INTEGER }],
      [{ perReservation: null }, { perReservation: null, perHolder: Number.MAX_SAFE_INTEGER }],
      [
        { perReservation: 1, perHolder: null },
        { perReservation: 1, perHolder: null },
      ],
    ]) {
      const { status, body: limits, headers } = await limit(id, body)
      expect([status, limits]).toEqual([200, expected])
      expect(headers.get('consistency-token')).toBeTruthy()
    }
  })

  it('does the same however often it is asked, whatever key it is asked under', async () => {
    const { id } = await newProduct()
    const headers = { 'idempotency-key': `limit ${id}` }
    for (const perHolder of [3, 3, 4]) {
      const {
        status,
        body,
        headers: answered,
      } = await call(setLimit, { params: { productId: id }, body: { perHolder }, headers })
      expect([status, body.perHolder, answered.get('idempotent-replayed')]).toEqual([200, perHolder, null])
    }
  })

  it.each([
    ['perReservation', { perReservation: 0 }],
    ['perReservation', { perReservation: -1 }],
    ['perReservation', { perReservation: 1.5 }],
    ['perHolder', { perHolder: '3' }],
    ['perHolder', { perHolder: 2 ** 53 }],
    ['perDay', { perDay: 3 }],
  ])('refuses a wrong %s: %j', async (path, body) => {
    const { id } = await newProduct()
    const answer = await expectNoEffect(() => limit(id, body))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })

  it('answers 404 for a product that is not there, or no longer', async () => {
    const { id } = await newProduct()
    await sql`update products set deleted_at = now() where id = ${id}`
    for (const missing of [id, crypto.randomUUID()]) {
      const answer = await expectNoEffect(() => limit(missing, { perHolder: 1 }))
      expect(answer).toMatchObject({ status: 404, body: { code: 'product_not_found' } })
    }
  })
})

describe('a limit for a reservation', () => {
  it('counts all lines of the product, wherever they are served from', async () => {
    const productId = await limited({ perReservation: 3 })
    const { sku } = await newProduct({ initialStock: 9 })
    const lines = (...quantities: number[]) => [
      { sku, quantity: 9 },
      ...quantities.map((quantity) => ({ productId, quantity })),
    ]
    const answer = await expectNoEffect(() => call(reserveStock, { body: { lines: lines(2, 2) } }))
    expect(answer).toMatchObject(passed(productId, 'perReservation', 3, 0, 4))
    expect((await call(reserveStock, { body: { lines: lines(2, 1) } })).status).toBe(201)
  })

  it('does not stand in the way of another reservation', async () => {
    const productId = await limited({ perReservation: 3 })
    for (let count = 0; count < 3; count++) expect((await reserve(productId, 3, { holder: 'ann' })).status).toBe(201)
  })
})

describe('a limit for a holder', () => {
  it('counts what that holder holds, and nobody else', async () => {
    const productId = await limited({ perHolder: 3 })
    expect((await reserve(productId, 2, { holder: 'ann' })).status).toBe(201)
    expect(await expectNoEffect(() => reserve(productId, 2, { holder: 'ann' }))).toMatchObject(
      passed(productId, 'perHolder', 3, 2, 2),
    )
    expect((await reserve(productId, 3, { holder: 'Ann' })).status).toBe(201)
    expect((await reserve(productId, 1, { holder: 'ann' })).status).toBe(201)
  })

  it('counts what was held before there was a limit, and leaves that as it is', async () => {
    const { id: productId } = await newProduct({ initialStock: 10 })
    const { id } = await hold([{ productId, quantity: 5 }], { holder: 'bea' })
    await limit(productId, { perHolder: 3 })
    expect(await reserve(productId, 1, { holder: 'bea' })).toMatchObject(passed(productId, 'perHolder', 3, 5, 1))
    expect((await settle(id, 'extend', { ttlSeconds: 900 })).status).toBe(200)
    expect((await settle(id, 'confirm')).status).toBe(200)
  })

  it('does not count what was confirmed, released or is overdue, swept or not', async () => {
    const productId = await limited({ perHolder: 3 })
    for (const how of ['confirm', 'release', 'expire']) {
      const { body } = await reserve(productId, 3, { holder: 'cid' })
      expect((await reserve(productId, 1, { holder: 'cid' })).status).toBe(409)
      if (how === 'expire') await expire(body.id)
      else await settle(body.id, how)
    }
    expect((await reserve(productId, 3, { holder: 'cid' })).status).toBe(201)
  })

  it('does not count the hold that is replaced, and keeps it where the new one is too much', async () => {
    const productId = await limited({ perHolder: 3 })
    const cart = { holder: 'dan', reference: 'cart' }
    const { body: first } = await reserve(productId, 2, cart)
    const { body: other } = await reserve(productId, 1, { holder: 'dan' })
    expect(await expectNoEffect(() => reserve(productId, 3, cart))).toMatchObject(
      passed(productId, 'perHolder', 3, 1, 3),
    )
    await settle(other.id, 'release')
    expect((await reserve(productId, 3, cart)).status).toBe(201)
    expect(await sql`select state from reservations where id = ${first.id}`).toEqual([{ state: 'released' }])
  })

  it('wants to know who holds it', async () => {
    const productId = await limited({ perHolder: 3 })
    for (const more of [{}, { holder: null }, { reference: 'cart' }]) {
      const answer = await expectNoEffect(() => reserve(productId, 1, more))
      expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed', errors: [{ path: 'holder' }] } })
    }
    await limit(productId, { perHolder: null })
    expect((await reserve(productId, 1)).status).toBe(201)
  })

  it('is told with every other limit that is passed, before what is short', async () => {
    const [one, two] = [await limited({ perReservation: 2, perHolder: 3 }, 1), await limited({ perHolder: 1 })]
    const lines = [
      { productId: one, quantity: 4 },
      { productId: two, quantity: 2 },
    ]
    const answer = await expectNoEffect(() => call(reserveStock, { body: { lines, holder: 'eve' } }))
    expect(answer.body.limits).toEqual([
      { productId: one, limit: 'perReservation', max: 2, held: 0, requested: 4 },
      { productId: one, limit: 'perHolder', max: 3, held: 0, requested: 4 },
      { productId: two, limit: 'perHolder', max: 1, held: 0, requested: 2 },
    ])
    const short = [{ productId: one, quantity: 2 }]
    expect((await call(reserveStock, { body: { lines: short, holder: 'eve' } })).body.code).toBe('insufficient_stock')
  })

  it('counts in 64 bits', async () => {
    const { id: productId } = await newProduct({ initialStock: 1_000_000_000 })
    for (const [location, pieces] of [
      ['main', 1_000_000_000],
      ['huge', 1_000_000_000],
      ['huge', 1_000_000_000],
    ] as const)
      await stockAt(productId, location, pieces)
    await limit(productId, { perHolder: 3_000_000_000 })
    const billion = { productId, quantity: 1_000_000_000 }
    const huge = { ...billion, location: 'huge' }
    const held = await call(reserveStock, { body: { lines: [billion, billion, huge], holder: 'fay' } })
    expect(held.body.lines).toMatchObject([{ quantity: 1_000_000_000 }, { quantity: 2_000_000_000 }])
    expect(await reserve(productId, 1, { holder: 'fay' })).toMatchObject(
      passed(productId, 'perHolder', 3_000_000_000, 3_000_000_000, 1),
    )
    expect((await settle(held.body.id, 'confirm', { lines: [{ productId, quantity: 2_000_000_000 }] })).status).toBe(
      200,
    )
  })

  it('is never passed, however many of a holder’s requests race', async () => {
    const productId = await limited({ perHolder: 7 })
    const other = await newProduct({ initialStock: 100 })
    const random = Array.from({ length: 60 }, (_, index) => ({
      body: {
        lines: [
          { productId, quantity: (index % 3) + 1 },
          ...(index % 2 === 0 ? [{ productId: other.id, quantity: 1 }] : []),
        ],
        holder: index % 4 === 0 ? 'hal' : 'gil',
        ...(index % 5 === 0 && { reference: `cart ${index % 10}` }),
      },
    }))
    const answers = await Promise.all(random.map((options) => call(reserveStock, options)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201, 409]))
    const rows = await sql<Array<{ holder: string; held: number }>>`
      select holder, sum(quantity)::bigint as held from reservations join reservation_lines on reservation_id = id
      where state = 'held' and product_id = ${productId} group by holder order by holder`
    expect(rows.map(({ holder }) => holder)).toEqual(['gil', 'hal'])
    for (const { held } of rows) expect(held).toBeLessThanOrEqual(7)
    // As much as possible is held: a refused request, of at most 3 pieces, would have passed the limit of 7.
    for (const { held } of rows) expect(held).toBeGreaterThan(4)
  })

  it('holds from its answer on, also for those that are under way', async () => {
    for (let round = 0; round < 10; round++) {
      const { id: productId } = await newProduct({ initialStock: 100 })
      const [, ...answers] = await Promise.all([
        limit(productId, { perHolder: 2 }),
        ...Array.from({ length: 8 }, () => reserve(productId, 1, { holder: 'ida' })),
      ])
      const held = answers.filter(({ status }) => status === 201).length
      expect(await reserve(productId, 1, { holder: 'ida' })).toMatchObject({ status: held < 2 ? 201 : 409 })
    }
  })
})
