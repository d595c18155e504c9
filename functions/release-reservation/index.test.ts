import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, expire, functionNamed, hold, newProduct, sql, stockAt } from '#testing'
import releaseReservation from './index.ts'

const release = (reservationId: string, body?: object) =>
  call(releaseReservation, { params: { reservationId }, ...(body && { body }) })

async function held() {
  const { id: productId } = await newProduct({ initialStock: 10 })
  await stockAt(productId, 'second', 10)
  const lines = [
    { productId, quantity: 3 },
    { productId, quantity: 4, location: 'second' },
  ]
  return { productId, reservation: await hold(lines, { reference: 'order-1' }) }
}

afterAll(expectConsistent)

describe('release-reservation', () => {
  it.each([undefined, {}])('gives the held goods back, at every location, with the body %j', async (sent) => {
    const { productId, reservation } = await held()
    const { status, body, headers } = await release(reservation.id, sent)
    expect(status).toBe(200)
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(body).toEqual({ ...reservation, state: 'released', updatedAt: body.updatedAt })
    const levels = await sql`select on_hand, reserved from stock_levels where product_id = ${productId}`
    expect(levels).toEqual([
      { on_hand: 10, reserved: 0 },
      { on_hand: 10, reserved: 0 },
    ])
    const movements = await sql`
      select location, reserved_delta, reference from stock_movements
      where reservation_id = ${reservation.id} and type = 'released' order by location`
    expect(movements).toEqual([
      { location: 'main', reserved_delta: -3, reference: 'order-1' },
      { location: 'second', reserved_delta: -4, reference: 'order-1' },
    ])
  })

  it('answers a repeat with the same, and gives nothing back twice', async () => {
    const { reservation } = await held()
    const first = await release(reservation.id)
    const again = await expectNoEffect(() => release(reservation.id))
    expect([again.status, again.body]).toEqual([200, first.body])
  })

  it('gives the goods back once when twenty release at once', async () => {
    const { productId, reservation } = await held()
    const answers = await Promise.all(Array.from({ length: 20 }, () => release(reservation.id)))
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.state} ${body.updatedAt}`)).size).toBe(1)
    expect(await sql`select 1 from stock_movements where product_id = ${productId} and type = 'released'`).toHaveLength(
      2,
    )
  })

  it('is refused after confirm, and once the deadline has passed, swept or not', async () => {
    const confirmed = (await held()).reservation
    await call(await functionNamed('confirm-reservation'), { params: { reservationId: confirmed.id } })
    const overdue = (await held()).reservation
    await expire(overdue.id)
    const expired = await held()
    await expire(expired.reservation.id)
    await hold([{ productId: expired.productId, quantity: 1 }])
    expect(await release(overdue.id)).toMatchObject({ status: 409, body: { code: 'not_held' } })
    for (const { id } of [confirmed, overdue, expired.reservation]) {
      const answer = await expectNoEffect(() => release(id))
      expect(answer).toMatchObject({ status: 409, body: { code: 'not_held' } })
    }
  })

  it('answers 404 for a reservation that never was', async () => {
    const answer = await expectNoEffect(() => release(crypto.randomUUID()))
    expect(answer).toMatchObject({ status: 404, body: { code: 'reservation_not_found' } })
  })
})
