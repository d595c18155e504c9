import { describe, expect, it } from 'vitest'
import { blocked, call, expectNoEffect, expire, hold, inRivalSession, newProduct, stockAt } from '#testing'
import getReservation from './index.ts'

const get = (reservationId: string) => call(getReservation, { params: { reservationId } })

describe('get-reservation', () => {
  it('gives the reservation as it was made, lines in order', async () => {
    const [a, b] = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
    await stockAt(a.id, 'second', 5)
    const lines = [
      { productId: b.id, quantity: 1 },
      { productId: a.id, quantity: 2 },
      { productId: a.id, quantity: 3, location: 'second' },
    ]
    const made = await hold(lines, { reference: 'r', holder: 'h' })
    const { status, body } = await get(made.id.toUpperCase())
    expect([status, body]).toEqual([200, made])
  })

  it('shows a hold past its deadline as expired, swept or not', async () => {
    const { id: productId } = await newProduct({ initialStock: 5 })
    const { id } = await hold([{ productId, quantity: 1 }])
    await expire(id)
    expect((await expectNoEffect(() => get(id))).body.state).toBe('expired')
  })

  it('answers 404 for a reservation that never was', async () => {
    expect(await get(crypto.randomUUID())).toMatchObject({ status: 404, body: { code: 'reservation_not_found' } })
  })

  it('never shows a reservation of one moment with the lines of another', async () => {
    const { id: productId } = await newProduct({ initialStock: 5 })
    const { id } = await hold([{ productId, quantity: 2 }])
    const { body } = await inRivalSession(async (rival) => {
      // A request that reads the lines waits here; rows that it has read before are older than the next changes.
      await rival`lock table reservation_lines in access exclusive mode`
      const reading = get(id)
      await blocked()
      await rival`update reservations set state = 'confirmed' where id = ${id}`
      await rival`update reservation_lines set confirmed_quantity = 2, held_until = null where reservation_id = ${id}`
      await rival`commit`
      return reading
    })
    expect([body.state, body.lines[0].confirmedQuantity]).toEqual(['confirmed', 2])
  })
})
