import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, expire, functionNamed, hold, newProduct, sql, stockAt } from '#testing'
import confirmReservation from './index.ts'

const confirm = (reservationId: string, body?: object) =>
  call(confirmReservation, { params: { reservationId }, ...(body && { body }) })
const levelsOf = async (productId: string) =>
  Object.fromEntries(
    (await sql`select location, on_hand, reserved from stock_levels where product_id = ${productId}`).map((row) => [
      row.location,
      [row.on_hand, row.reserved],
    ]),
  )
const quantities = (body: { lines: Array<{ quantity: number; confirmedQuantity: number }> }) =>
  body.lines.map(({ quantity, confirmedQuantity }) => `${confirmedQuantity} of ${quantity}`)

async function held(...counts: number[]) {
  const products = await Promise.all(counts.map(() => newProduct({ initialStock: 10 })))
  const lines = products.map(({ id }, index) => ({ productId: id, quantity: counts[index] ?? 1 }))
  const reservation = await hold(lines, { reference: 'order-1' })
  return { id: reservation.id, reservation, productIds: products.map(({ id }) => id) as [string, string] }
}

afterAll(expectConsistent)

describe('confirm-reservation', () => {
  it('takes the held goods out of stock', async () => {
    const { id, reservation, productIds } = await held(3)
    const { status, body, headers } = await confirm(id)
    expect(status).toBe(200)
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(body).toEqual({
      ...reservation,
      state: 'confirmed',
      lines: [{ ...reservation.lines[0], confirmedQuantity: 3 }],
      updatedAt: body.updatedAt,
    })
    expect(body.updatedAt >= reservation.updatedAt).toBe(true)
    expect(await levelsOf(productIds[0])).toEqual({ main: [7, 0] })
    const [event] = await sql`
      select type, data from outbox where product_id = ${productIds[0]} order by sequence desc limit 1`
    expect(event).toMatchObject({
      type: 'stock.confirmed',
      data: {
        onHandDelta: -3,
        reservedDelta: -3,
        stock: { onHand: 7, reserved: 0, available: 7 },
        reference: 'order-1',
      },
    })
  })

  it('takes fewer where told, and gives the rest back', async () => {
    const { id, productIds } = await held(3, 4)
    const { body } = await confirm(id, { lines: [{ productId: productIds[1].toUpperCase(), quantity: 1 }] })
    expect([body.state, quantities(body)]).toEqual(['confirmed', ['0 of 3', '1 of 4']])
    expect([await levelsOf(productIds[0]), await levelsOf(productIds[1])]).toEqual([
      { main: [10, 0] },
      { main: [9, 0] },
    ])
    const movements = await sql`
      select product_id, type, on_hand_delta, reserved_delta from stock_movements
      where reservation_id = ${id} and type <> 'reserved' order by sequence`
    expect(movements).toEqual([
      { product_id: productIds[0], type: 'released', on_hand_delta: 0, reserved_delta: -3 },
      { product_id: productIds[1], type: 'confirmed', on_hand_delta: -1, reserved_delta: -1 },
      { product_id: productIds[1], type: 'released', on_hand_delta: 0, reserved_delta: -3 },
    ])
  })

  it('sums what it is told of one product, over all locations that serve it', async () => {
    const { id: productId } = await newProduct({ initialStock: 10 })
    await stockAt(productId, 'second', 10)
    const { id } = await hold([
      { productId, quantity: 3 },
      { productId, quantity: 4, location: 'second' },
    ])
    const lines = [
      { productId, quantity: 2 },
      { productId, quantity: 3 },
    ]
    const { status, body } = await confirm(id, { lines })
    expect(status).toBe(200)
    const confirmed = body.lines.reduce(
      (sum: number, line: { confirmedQuantity: number }) => sum + line.confirmedQuantity,
      0,
    )
    expect(confirmed).toBe(5)
    const levels = await levelsOf(productId)
    expect(Number(levels.main?.[0]) + Number(levels.second?.[0])).toBe(15)
    expect([levels.main?.[1], levels.second?.[1]]).toEqual([0, 0])
  })

  it('answers a repeat with what was confirmed, whatever the repeat asks for', async () => {
    const { id, productIds } = await held(3)
    const first = await confirm(id, { lines: [{ productId: productIds[0], quantity: 2 }] })
    for (const body of [undefined, { lines: [{ productId: productIds[0], quantity: 1 }] }]) {
      const again = await expectNoEffect(() => confirm(id, body))
      expect([again.status, again.body]).toEqual([200, first.body])
    }
  })

  it('takes the goods once when twenty confirm at once', async () => {
    const { id, productIds } = await held(3)
    const answers = await Promise.all(Array.from({ length: 20 }, () => confirm(id)))
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.state} ${body.updatedAt}`)).size).toBe(1)
    expect(await levelsOf(productIds[0])).toEqual({ main: [7, 0] })
  })

  it('is refused once the deadline has passed, swept or not, and takes nothing', async () => {
    const { id, productIds } = await held(3)
    await expire(id)
    const stateOfAll = () =>
      sql`select state, on_hand, reserved from reservations, stock_levels where id = ${id} and product_id = ${productIds[0]}`
    const [{ on_hand: onHand } = {}] = await stateOfAll()
    expect(await confirm(id)).toMatchObject({ status: 409, body: { code: 'reservation_expired' } })
    // A request that locks an overdue hold ends it.
    expect(await stateOfAll()).toEqual([{ state: 'expired', on_hand: onHand, reserved: 0 }])
    const swept = await expectNoEffect(() => confirm(id))
    expect(swept).toMatchObject({ status: 409, body: { code: 'reservation_expired' } })
  })

  it('is refused after release', async () => {
    const { id } = await held(3)
    await call(await functionNamed('release-reservation'), { params: { reservationId: id } })
    const answer = await expectNoEffect(() => confirm(id))
    expect(answer).toMatchObject({ status: 409, body: { code: 'not_held' } })
  })

  it('answers 404 for a reservation that never was', async () => {
    const answer = await expectNoEffect(() => confirm(crypto.randomUUID()))
    expect(answer).toMatchObject({ status: 404, body: { code: 'reservation_not_found' } })
  })

  it('refuses more than is held, in one line or in sum, and products that are not in it', async () => {
    const { id, productIds } = await held(3)
    const stranger = await newProduct({ initialStock: 10 })
    const [productId] = productIds
    for (const [path, lines] of [
      ['lines.0.quantity', [{ productId, quantity: 4 }]],
      [
        'lines.0.quantity',
        [
          { productId, quantity: 2 },
          { productId, quantity: 2 },
        ],
      ],
      [
        'lines.1.productId',
        [
          { productId, quantity: 1 },
          { productId: stranger.id, quantity: 1 },
        ],
      ],
    ] as const) {
      const answer = await expectNoEffect(() => confirm(id, { lines }))
      expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
    }
  })

  it.each([
    ['lines', { lines: [] }],
    ['lines', { lines: null }],
    ['lines', { lines: Array.from({ length: 101 }, () => ({ productId: crypto.randomUUID(), quantity: 1 })) }],
    ['lines.0.quantity', { lines: [{ productId: crypto.randomUUID(), quantity: 0 }] }],
    ['lines.0.quantity', { lines: [{ productId: crypto.randomUUID() }] }],
    ['lines.0.productId', { lines: [{ productId: 'x', quantity: 1 }] }],
    ['lines.0.sku', { lines: [{ productId: crypto.randomUUID(), quantity: 1, sku: 'x' }] }],
  ])('refuses a wrong %s: %j', async (path, body) => {
    const { id } = await held(3)
    const answer = await expectNoEffect(() => confirm(id, body))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
