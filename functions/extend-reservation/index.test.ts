import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, expire, functionNamed, hold, newProduct, sql } from '#testing'
import extendReservation from './index.ts'

const extend = (reservationId: string, body: object = { ttlSeconds: 60 }) =>
  call(extendReservation, { params: { reservationId }, body })
const settle = async (reservationId: string, how: string) =>
  call(await functionNamed(`${how}-reservation`), { params: { reservationId } })

async function held() {
  const { id } = await newProduct({ initialStock: 5 })
  return hold([{ productId: id, quantity: 2 }])
}

afterAll(expectConsistent)

describe('extend-reservation', () => {
  it.each([5, 86_400])('makes the hold end %d s from now, be that earlier or later than before', async (ttlSeconds) => {
    const made = await held()
    await sql`update reservations set created_at = created_at - interval '10 minutes' where id = ${made.id}`
    const { status, body, headers } = await extend(made.id, { ttlSeconds })
    expect(status).toBe(200)
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(Date.parse(body.expiresAt) - Date.parse(body.updatedAt)).toBe(ttlSeconds * 1_000)
    expect(Date.parse(body.updatedAt)).toBeGreaterThanOrEqual(Date.parse(made.updatedAt))
    expect({ ...body, expiresAt: made.expiresAt, createdAt: made.createdAt, updatedAt: made.updatedAt }).toEqual(made)
  })

  it('keeps the stock held past the first deadline', async () => {
    const made = await held()
    await extend(made.id, { ttlSeconds: 3_600 })
    const lines = await sql`
      select held_until = expires_at as same, held_until > now() + interval '59 minutes' as later
      from reservation_lines join reservations on id = reservation_id where id = ${made.id}`
    expect(lines).toEqual([{ same: true, later: true }])
  })

  it('is refused past what a hold may last from its creation, however often it is extended before', async () => {
    const made = await held()
    const age = (seconds: number) =>
      sql`update reservations set created_at = now() - ${seconds}::int * interval '1 second' where id = ${made.id}`
    await age(604_800 - 3_600)
    expect((await extend(made.id, { ttlSeconds: 3_500 })).status).toBe(200)
    const answer = await expectNoEffect(() => extend(made.id, { ttlSeconds: 3_700 }))
    expect(answer).toMatchObject({ status: 409, body: { code: 'hold_limit_reached' } })
    await age(604_800)
    expect((await expectNoEffect(() => extend(made.id, { ttlSeconds: 5 }))).body.code).toBe('hold_limit_reached')
    expect((await settle(made.id, 'confirm')).status).toBe(200)
  })

  it('is refused once the deadline has passed, swept or not', async () => {
    const made = await held()
    await expire(made.id)
    expect(await extend(made.id)).toMatchObject({ status: 409, body: { code: 'not_held' } })
    // A request that locks an overdue hold ends it.
    expect(await sql`select state from reservations where id = ${made.id}`).toEqual([{ state: 'expired' }])
    const answer = await expectNoEffect(() => extend(made.id))
    expect(answer).toMatchObject({ status: 409, body: { code: 'not_held' } })
  })

  it.each(['confirm', 'release'])('is refused after %s', async (how) => {
    const made = await held()
    await settle(made.id, how)
    const answer = await expectNoEffect(() => extend(made.id))
    expect(answer).toMatchObject({ status: 409, body: { code: 'not_held' } })
  })

  it('answers 404 for a reservation that never was', async () => {
    const answer = await expectNoEffect(() => extend(crypto.randomUUID()))
    expect(answer).toMatchObject({ status: 404, body: { code: 'reservation_not_found' } })
  })

  it.each([
    {},
    { ttlSeconds: 4 },
    { ttlSeconds: 86_401 },
    { ttlSeconds: 5.5 },
    { ttlSeconds: '60' },
    { ttlSeconds: null },
  ])('refuses %j', async (body) => {
    const { id } = await held()
    const answer = await expectNoEffect(() => extend(id, body))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'ttlSeconds' }] } })
  })
})
