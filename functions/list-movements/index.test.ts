import { describe, expect, it } from 'vitest'
import { call, expectPaging, functionNamed, hold, newProduct, sql, stockAt, walk } from '#testing'
import listMovements from './index.ts'

const list = (productId: string) => call(listMovements, { params: { productId } })

describe('list-movements', () => {
  it('gives the ledger of one product, newest first, over all locations', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    await newProduct({ initialStock: 99 })
    await stockAt(id, 'second', 5)
    const reservation = await hold([{ productId: id, quantity: 3 }], { reference: 'order-1' })
    const { status, body } = await list(id)
    expect(status).toBe(200)
    expect(body.items).toMatchObject([
      {
        type: 'reserved',
        location: 'main',
        onHandDelta: 0,
        reservedDelta: 3,
        onHandAfter: 10,
        reservedAfter: 3,
        reservationId: reservation.id,
        reference: 'order-1',
        reason: null,
      },
      { type: 'adjustment', location: 'second', onHandDelta: 5, onHandAfter: 5, reservationId: null },
      { type: 'adjustment', location: 'main', onHandDelta: 10, onHandAfter: 10, reason: 'received' },
    ])
    expect(body.nextCursor).toBeNull()
  })

  it('gives them in the order the balances changed, whatever the clocks said', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    await stockAt(id, 'main', 2)
    await sql`update stock_movements set occurred_at = now() - interval '1 day' where product_id = ${id} and on_hand_after = 3`
    expect((await list(id)).body.items.map((item: { onHandAfter: number }) => item.onHandAfter)).toEqual([3, 1])
  })

  it('is read in pages', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    await stockAt(id, 'main', 2)
    await expectPaging(listMovements, { params: { productId: id } })
  })

  it('refuses a cursor of another product', async () => {
    const [one, other] = [await newProduct({ initialStock: 1 }), await newProduct({ initialStock: 1 })]
    await stockAt(one.id, 'main', 2)
    const { body } = await call(listMovements, { params: { productId: one.id }, query: { limit: 1 } })
    const answer = await call(listMovements, { params: { productId: other.id }, query: { cursor: body.nextCursor } })
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'cursor' }] } })
  })

  it('gives each row that was there at the start exactly once, while others are added', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    for (let quantity = 1; quantity <= 14; quantity++) await stockAt(id, 'main', quantity)
    const before = (await list(id)).body.items
    expect(before).toHaveLength(15)
    const items = await walk(listMovements, { params: { productId: id } }, 4, () => stockAt(id, 'main', 1))
    expect(items).toEqual(before)
  })

  it('answers for a deleted product, whose ledger is kept, and in pages', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    await stockAt(id, 'main', 2)
    const before = (await list(id)).body
    await call(await functionNamed('delete-product'), { params: { productId: id } })
    expect(await list(id)).toMatchObject({ status: 200, body: before })
    await expectPaging(listMovements, { params: { productId: id } })
  })

  it('answers 404 for a product that never was', async () => {
    expect(await list(crypto.randomUUID())).toMatchObject({ status: 404, body: { code: 'product_not_found' } })
  })
})
