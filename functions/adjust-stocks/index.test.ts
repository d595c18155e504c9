import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, hold, newProduct, newProducts, sql, stockAt } from '#testing'
import adjustStocks from './index.ts'

const adjust = (...adjustments: object[]) => call(adjustStocks, { body: { adjustments } })
const received = (product: object, quantity: number, more: object = {}) => ({
  ...product,
  quantity,
  reason: 'received',
  ...more,
})

afterAll(expectConsistent)

describe('adjust-stocks', () => {
  it('adjusts every product, and answers with the movements in the order of the request', async () => {
    const [mug, pan] = [await newProduct({ initialStock: 10 }), await newProduct({ initialStock: 4 })]
    await stockAt(pan.id, 'attic', 3)
    const { status, body, headers } = await adjust(
      received({ sku: pan.sku }, 2, { location: 'attic', note: 'A pallet' }),
      { productId: mug.id, quantity: -4, reason: 'damaged', reference: 'claim-1', expectedOnHand: 10 },
      received({ productId: pan.id }, 1),
    )
    expect(status).toBe(201)
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(body.items).toMatchObject([
      { productId: pan.id, location: 'attic', onHandDelta: 2, onHandAfter: 5, reason: 'received', note: 'A pallet' },
      { productId: mug.id, location: 'main', onHandDelta: -4, onHandAfter: 6, reason: 'damaged', reference: 'claim-1' },
      { productId: pan.id, location: 'main', onHandDelta: 1, onHandAfter: 5, reason: 'received' },
    ])
    const rows =
      await sql`select id from stock_movements where id in ${sql(body.items.map(({ id }: { id: string }) => id))}`
    expect(rows).toHaveLength(3)
    const events =
      await sql`select type, data->>'onHandDelta' as delta from outbox where product_id = ${pan.id} order by sequence desc limit 2`
    expect([...events]).toEqual([
      { type: 'stock.adjusted', delta: '1' },
      { type: 'stock.adjusted', delta: '2' },
    ])
  })

  it('adjusts 500 products at once', async () => {
    const products = await newProducts(500)
    const { status, body } = await adjust(...products.map(({ id }) => received({ productId: id }, 3)))
    expect([status, body.items.length]).toEqual([201, 500])
    expect(body.items.map(({ productId }: { productId: string }) => productId)).toEqual(products.map(({ id }) => id))
  })

  it('changes nothing where quantities are stale, and names every one of them', async () => {
    const [mug, pan] = [await newProduct({ initialStock: 10 }), await newProduct({ initialStock: 4 })]
    await stockAt(pan.id, 'attic', 3)
    const answer = await expectNoEffect(() =>
      adjust(
        received({ productId: mug.id }, 1, { expectedOnHand: 9 }),
        received({ productId: pan.id }, 1, { expectedOnHand: 4 }),
        // Stale quantities are reported before short ones.
        { sku: pan.sku, location: 'attic', quantity: -9, reason: 'lost', expectedOnHand: 0 },
        received({ productId: mug.id }, 1, { location: 'attic', expectedOnHand: 2 }),
      ),
    )
    expect(answer).toMatchObject({ status: 409, body: { code: 'stale_quantity' } })
    expect(answer.body.conflicts).toEqual([
      { productId: mug.id, location: 'main', expected: 9, actual: 10 },
      { productId: pan.id, location: 'attic', expected: 0, actual: 3 },
      { productId: mug.id, location: 'attic', expected: 2, actual: 0 },
    ])
  })

  it('changes nothing where stock is short, and names every short line', async () => {
    const [mug, pan] = [await newProduct({ initialStock: 10 }), await newProduct({ initialStock: 4 })]
    await hold([{ productId: mug.id, quantity: 8 }])
    const lost = (product: object, quantity: number) => ({ ...product, quantity: -quantity, reason: 'lost' })
    const answer = await expectNoEffect(() =>
      adjust(received({ productId: pan.id }, 1, { location: 'main' }), lost({ sku: mug.sku }, 3)),
    )
    expect(answer).toMatchObject({ status: 409, body: { code: 'insufficient_stock' } })
    expect(answer.body.shortages).toEqual([
      { productId: mug.id, sku: mug.sku, location: 'main', requested: 3, available: 2 },
    ])
  })

  it('refuses unknown products and locations, and more than a location can hold, before it changes anything', async () => {
    const mug = await newProduct({ initialStock: 10 })
    const first = received({ productId: mug.id }, 1)
    const refusals: Array<[object, number, string]> = [
      [received({ productId: crypto.randomUUID() }, 1), 404, 'product_not_found'],
      [received({ sku: 'nothing' }, 1), 404, 'product_not_found'],
      [received({ productId: mug.id }, 1, { location: 'nowhere' }), 404, 'location_not_found'],
      [received({ sku: mug.sku }, 1), 422, 'validation_failed'],
    ]
    for (const [second, status, code] of refusals) {
      const answer = await expectNoEffect(() => adjust(first, second))
      expect(answer).toMatchObject({ status, body: { code } })
    }
    const { id: productId } = await newProduct({ initialStock: 1_000_000_000 })
    expect((await adjust(received({ productId }, 1_000_000_000))).status).toBe(201)
    const tooMuch = await expectNoEffect(() => adjust(first, received({ productId }, 1)))
    expect(tooMuch).toMatchObject({ status: 422, body: { errors: [{ path: 'adjustments.1.quantity' }] } })
  })

  it.each([
    ['no adjustment', []],
    ['501', Array.from({ length: 501 }, () => received({ sku: 'x' }, 1))],
    ['neither id nor sku', [received({}, 1)]],
    ['both', [received({ sku: 'x', productId: crypto.randomUUID() }, 1)]],
    ['no quantity', [{ sku: 'x', reason: 'received' }]],
    ['a quantity of 0', [received({ sku: 'x' }, 0)]],
    ['a negative expectation', [received({ sku: 'x' }, 1, { expectedOnHand: -1 })]],
    ['an unknown member', [received({ sku: 'x' }, 1, { onHand: 1 })]],
  ])('refuses %s', async (_, adjustments) => {
    expect(await adjust(...adjustments)).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
  })
})
