import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, expire, hold, newProduct, sql, stockAt } from '#testing'
import getStock from './index.ts'

const get = (productId: string) => call(getStock, { params: { productId } })

afterAll(expectConsistent)

describe('get-stock', () => {
  it('gives the sums and each location, by allocation priority', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    await stockAt(id, 'late', 5, 20)
    await stockAt(id, 'early', 2, -1)
    await hold([
      { productId: id, quantity: 3 },
      { productId: id, quantity: 5, location: 'late' },
    ])
    const { status, body } = await get(id)
    expect(status).toBe(200)
    expect(body).toEqual({
      productId: id,
      onHand: 17,
      reserved: 8,
      available: 9,
      locations: [
        { location: 'early', onHand: 2, reserved: 0, available: 2 },
        { location: 'main', onHand: 10, reserved: 3, available: 7 },
        { location: 'late', onHand: 5, reserved: 5, available: 0 },
      ],
    })
  })

  it('gives a product that never had stock as empty at main', async () => {
    const { id } = await newProduct()
    const { body } = await get(id.toUpperCase())
    expect(body).toMatchObject({ productId: id, available: 0, locations: [{ location: 'main', onHand: 0 }] })
  })

  it('does not count a hold past its deadline, swept or not', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    const overdue = await hold([{ productId: id, quantity: 3 }])
    await hold([{ productId: id, quantity: 2 }])
    await expire(overdue.id)
    expect((await expectNoEffect(() => get(id))).body).toMatchObject({ onHand: 10, reserved: 2, available: 8 })
  })

  it('answers 404 for a product that never was, or is deleted', async () => {
    const { id } = await newProduct()
    await sql`update products set deleted_at = now() where id = ${id}`
    for (const missing of [id, crypto.randomUUID()]) {
      expect(await get(missing)).toMatchObject({ status: 404, body: { code: 'product_not_found' } })
    }
  })
})
