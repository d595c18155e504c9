import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, expire, hold, newProduct, sql, stockAt } from '#testing'
import adjustStock from './index.ts'

const adjust = (productId: string, body: object) => call(adjustStock, { params: { productId }, body })
const levelAt = async (productId: string, location: string) =>
  (await sql`select on_hand, reserved from stock_levels where product_id = ${productId} and location = ${location}`)[0]

afterAll(expectConsistent)

describe('adjust-stock', () => {
  it('receives goods at main unless told, and answers with the movement', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    const { status, body, headers } = await adjust(id, {
      quantity: 5,
      reason: 'received',
      reference: 'PO-1',
      note: 'Two boxes,\none open',
    })
    expect(status).toBe(201)
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(headers.get('location')).toBe(`/v1/products/${id}/stock/movements`)
    expect(body).toEqual({
      id: body.id,
      productId: id,
      location: 'main',
      type: 'adjustment',
      onHandDelta: 5,
      reservedDelta: 0,
      onHandAfter: 15,
      reservedAfter: 0,
      reason: 'received',
      reference: 'PO-1',
      note: 'Two boxes,\none open',
      reservationId: null,
      actor: 'api-key:00000000-0000-7000-8000-000000000000',
      occurredAt: body.occurredAt,
    })
    expect(await levelAt(id, 'main')).toEqual({ on_hand: 15, reserved: 0 })
    const [event] =
      await sql`select type, version, data from outbox where product_id = ${id} order by sequence desc limit 1`
    expect(event).toMatchObject({
      type: 'stock.adjusted',
      version: 3,
      data: {
        onHandDelta: 5,
        stock: { onHand: 15, reserved: 0, available: 15 },
        reason: 'received',
        reference: 'PO-1',
      },
    })
  })

  it.each(['received', 'returned', 'damaged', 'lost', 'correction'])(
    'takes the reason %s, in both directions',
    async (reason) => {
      const { id } = await newProduct({ initialStock: 10 })
      expect((await adjust(id, { quantity: 1, reason })).body).toMatchObject({ reason, onHandAfter: 11 })
      expect((await adjust(id, { quantity: -2, reason })).body).toMatchObject({ onHandDelta: -2, onHandAfter: 9 })
    },
  )

  it('keeps locations apart', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    await stockAt(id, 'second', 0)
    await adjust(id, { quantity: 4, reason: 'received', location: 'second' })
    const { body } = await adjust(id, { quantity: -1, reason: 'lost', location: 'second' })
    expect([body.location, body.onHandAfter]).toEqual(['second', 3])
    expect(await levelAt(id, 'main')).toEqual({ on_hand: 10, reserved: 0 })
  })

  it('takes all that is free, and refuses one more', async () => {
    const product = await newProduct({ initialStock: 10 })
    await hold([{ productId: product.id, quantity: 4 }])
    const answer = await expectNoEffect(() => adjust(product.id, { quantity: -7, reason: 'lost' }))
    expect(answer).toMatchObject({
      status: 409,
      body: {
        code: 'insufficient_stock',
        shortages: [{ productId: product.id, sku: product.sku, location: 'main', requested: 7, available: 6 }],
      },
    })
    expect((await adjust(product.id, { quantity: -6, reason: 'lost' })).body).toMatchObject({
      onHandAfter: 4,
      reservedAfter: 4,
    })
  })

  it('refuses to take from a location that has none, whatever the others have', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    await stockAt(id, 'empty', 0)
    const answer = await expectNoEffect(() => adjust(id, { quantity: -1, reason: 'lost', location: 'empty' }))
    expect(answer).toMatchObject({ status: 409, body: { code: 'insufficient_stock', shortages: [{ available: 0 }] } })
  })

  it('is not held up by a hold past its deadline', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    const { id: overdue } = await hold([{ productId: id, quantity: 10 }])
    await expire(overdue)
    expect((await adjust(id, { quantity: -10, reason: 'lost' })).body).toMatchObject({
      onHandAfter: 0,
      reservedAfter: 0,
    })
    expect(await sql`select state from reservations where id = ${overdue}`).toEqual([{ state: 'expired' }])
  })

  it('refuses an unknown location, and an unknown or deleted product', async () => {
    const [{ id }, gone] = [await newProduct(), await newProduct()]
    await sql`update products set deleted_at = now() where id = ${gone.id}`
    const nowhere = await expectNoEffect(() => adjust(id, { quantity: 1, reason: 'received', location: 'nowhere' }))
    expect(nowhere).toMatchObject({ status: 404, body: { code: 'location_not_found' } })
    for (const missing of [gone.id, crypto.randomUUID()]) {
      const answer = await expectNoEffect(() => adjust(missing, { quantity: 1, reason: 'received' }))
      expect(answer).toMatchObject({ status: 404, body: { code: 'product_not_found' } })
    }
  })

  it('refuses more on hand than a balance can count', async () => {
    const { id } = await newProduct({ initialStock: 1_000_000_000 })
    expect((await adjust(id, { quantity: 1_000_000_000, reason: 'received' })).status).toBe(201)
    const answer = await expectNoEffect(() => adjust(id, { quantity: 1, reason: 'received' }))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'quantity' }] } })
  })

  it.each([
    ['quantity', { quantity: 0 }],
    ['quantity', { quantity: -0 }],
    ['quantity', { quantity: 1.5 }],
    ['quantity', { quantity: '1' }],
    ['quantity', { quantity: undefined }],
    ['quantity', { quantity: 1_000_000_001 }],
    ['quantity', { quantity: -1_000_000_001 }],
    ['reason', { reason: 'stolen' }],
    ['reason', { reason: undefined }],
    ['location', { location: '' }],
    ['location', { location: 'a b' }],
    ['location', { location: null }],
    ['reference', { reference: '' }],
    ['reference', { reference: 'x'.repeat(201) }],
    ['reference', { reference: 'a\nb' }],
    ['note', { note: 'x'.repeat(2_001) }],
    ['note', { note: 'a\u0000' }],
    ['type', { type: 'count' }],
  ])('refuses a wrong %s: %j', async (path, members) => {
    const { id } = await newProduct({ initialStock: 10 })
    const answer = await expectNoEffect(() => adjust(id, { quantity: 1, reason: 'received', ...members }))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
