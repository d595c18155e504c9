import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, expire, functionNamed, hold, newProduct, sql, stockAt } from '#testing'
import deleteProduct from './index.ts'

const remove = (productId: string, headers: Record<string, string> = {}) =>
  call(deleteProduct, { params: { productId }, headers })

const updateProduct = await functionNamed('update-product')

afterAll(expectConsistent)

describe('delete-product', () => {
  it('takes the product out of the catalogue, keeps its ledger, and tells it', async () => {
    const { id, sku } = await newProduct({ initialStock: 4 })
    const { status, headers } = await remove(id)
    expect(status).toBe(204)
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(await sql`select deleted_at is not null as deleted from products where id = ${id}`).toEqual([
      { deleted: true },
    ])
    expect(await sql`select on_hand_after from stock_movements where product_id = ${id}`).toEqual([
      { on_hand_after: 4 },
    ])
    const [event] =
      await sql`select type, version, data from outbox where product_id = ${id} order by sequence desc limit 1`
    expect(event).toEqual({
      type: 'product.deleted',
      version: 3,
      data: { productId: id, sku, version: 3, stock: { onHand: 4, reserved: 0, available: 4 } },
    })
  })

  it('answers 404 for a product that is not there, or no longer', async () => {
    const { id } = await newProduct()
    await remove(id)
    for (const missing of [id, crypto.randomUUID()]) {
      const answer = await expectNoEffect(() => remove(missing))
      expect(answer).toMatchObject({ status: 404, body: { code: 'product_not_found' } })
    }
  })

  it.each([
    { 'if-match': '"2.2"' },
    { 'if-match': 'W/"1.2"' },
    { 'if-match': 'junk' },
    { 'if-none-match': '*' },
    { 'if-none-match': '"1.2"' },
  ])('is refused by a precondition that does not hold: %j', async (headers) => {
    const { id } = await newProduct({ initialStock: 4 })
    const answer = await expectNoEffect(() => remove(id, headers as Record<string, string>))
    expect(answer).toMatchObject({ status: 412, body: { code: 'version_mismatch' } })
  })

  it.each([{ 'if-match': '"1.2"' }, { 'if-match': '"7", "1.2"' }, { 'if-match': '*' }, { 'if-none-match': '"2.2"' }])(
    'goes ahead by one that holds, whatever has happened to the stock: %j',
    async (headers) => {
      const { id } = await newProduct({ initialStock: 4 })
      await stockAt(id, 'main', 3)
      expect((await remove(id, headers as Record<string, string>)).status).toBe(204)
    },
  )

  it('is spoilt by an edit, and says so before it says who holds the stock', async () => {
    const { id } = await newProduct({ initialStock: 4 })
    await hold([{ productId: id, quantity: 1 }])
    await call(updateProduct, { params: { productId: id }, body: { name: 'Changed by another' } })
    expect((await remove(id, { 'if-match': '"1.2"' })).status).toBe(412)
    expect((await remove(id, { 'if-match': '"2.2"' })).status).toBe(409)
  })

  it('is refused while a reservation holds stock of it', async () => {
    const [product, other] = [await newProduct({ initialStock: 4 }), await newProduct({ initialStock: 4 })]
    await hold([
      { productId: other.id, quantity: 1 },
      { productId: product.id, quantity: 1 },
    ])
    const answer = await expectNoEffect(() => remove(product.id))
    expect(answer).toMatchObject({ status: 409, body: { code: 'has_held_reservations' } })
  })

  it('is not held up by a hold past its deadline, which it ends', async () => {
    const [product, other] = [await newProduct({ initialStock: 4 }), await newProduct({ initialStock: 4 })]
    const { id } = await hold([
      { productId: other.id, quantity: 1 },
      { productId: product.id, quantity: 1 },
    ])
    await expire(id)
    expect((await remove(product.id)).status).toBe(204)
    expect(await sql`select state from reservations where id = ${id}`).toEqual([{ state: 'expired' }])
    expect(
      await sql`select sum(reserved) as reserved from stock_levels where product_id in ${sql([product.id, other.id])}`,
    ).toMatchObject([{ reserved: 0 }])
  })

  it('deletes once when ten try at once', async () => {
    const { id } = await newProduct()
    const answers = await Promise.all(Array.from({ length: 10 }, () => remove(id)))
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1)
    expect(answers.filter(({ body }) => body?.code === 'product_not_found')).toHaveLength(9)
  })

  it('and a reservation at the same moment: one of them wins, never both', async () => {
    for (let round = 0; round < 10; round++) {
      const { id } = await newProduct({ initialStock: 1 })
      const [deleted, held] = await Promise.allSettled([remove(id), hold([{ productId: id, quantity: 1 }])])
      const isDeleted = deleted.status === 'fulfilled' && deleted.value.status === 204
      expect(isDeleted).toBe(held.status === 'rejected')
    }
  })
})
