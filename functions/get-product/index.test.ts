import { describe, expect, it } from 'vitest'
import { call, expectNoEffect, hold, newProduct, sql, stockAt } from '#testing'
import getProduct from './index.ts'

const get = (productId: string, headers: Record<string, string> = {}) =>
  call(getProduct, { params: { productId }, headers })

describe('get-product', () => {
  it('gives the product with its stock over all locations, and its entity tag', async () => {
    const product = await newProduct({ initialStock: 10, attributes: { b: 1, a: { c: [2] } } })
    await stockAt(product.id, 'second', 5)
    await hold([{ productId: product.id, quantity: 3 }])
    const { status, body, headers } = await get(product.id)
    expect(status).toBe(200)
    expect(body).toEqual({ ...product, stock: { onHand: 15, reserved: 3, available: 12 } })
    expect(headers.get('etag')).toBe('"1.4"')
    expect(Object.keys(body.attributes)).toEqual(['b', 'a'])
  })

  it('takes an id in any case', async () => {
    const { id } = await newProduct()
    expect((await get(id.toUpperCase())).body.id).toBe(id)
  })

  it('sees the write whose token it brings', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    const [position] = await sql`select '1-' || pg_current_wal_lsn()::text as token`
    expect((await get(id, { 'consistency-token': position?.token })).body.stock.onHand).toBe(1)
  })

  it('answers 404 for a product that never was, or is deleted', async () => {
    const { id } = await newProduct()
    await sql`update products set deleted_at = now() where id = ${id}`
    for (const missing of [id, crypto.randomUUID()]) {
      expect(await expectNoEffect(() => get(missing))).toMatchObject({
        status: 404,
        body: { code: 'product_not_found' },
      })
    }
  })

  it.each(['"1.2"', 'W/"1.2"', '"0.0", "1.2"', '"0.0",W/"1.2" ', '*'])(
    'answers 304 without a body to a reader whose copy is still good: %s',
    async (tag) => {
      const { id } = await newProduct({ initialStock: 1 })
      const { status, body, headers } = await get(id, { 'if-none-match': tag })
      expect([status, body, headers.get('etag')]).toEqual([304, undefined, '"1.2"'])
    },
  )

  it.each(['"1.1"', '"1"', '1.2', '"2.2"', '', 'junk'])('answers in full to any other tag: %j', async (tag) => {
    const { id } = await newProduct({ initialStock: 1 })
    expect((await get(id, { 'if-none-match': tag })).status).toBe(200)
  })

  it.each([
    ['"1.2"', 200],
    ['"1.1"', 200],
    ['*', 200],
    ['"2.2"', 412],
    ['W/"1.2"', 412],
  ])('answers to If-Match: %s with %d', async (tag, expected) => {
    const { id } = await newProduct({ initialStock: 1 })
    const { status } = await get(id, { 'if-match': tag, 'if-none-match': '"1.1"' })
    expect(status).toBe(expected)
  })

  it('never hides a change of stock behind a 304', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    const before = await get(id)
    await hold([{ productId: id, quantity: 1 }])
    const after = await get(id, { 'if-none-match': before.headers.get('etag') ?? '' })
    expect([after.status, after.body.stock.available, after.body.version]).toEqual([200, 4, 1])
    expect(after.headers.get('etag')).not.toBe(before.headers.get('etag'))
  })
})
