import { afterAll, describe, expect, it } from 'vitest'
import { systemContext } from '#database'
import { adjustStock, confirm, release, sweepReservations } from '#stock'
import type { Movement } from '#stock/schema'
import { call, expectConsistent, expectNoEffect, expire, functionNamed, hold, newProduct, sql, stockAt } from '#testing'
import getStock from './index.ts'

const context = systemContext('function:test')
const get = (productId: string) => call(getStock, { params: { productId } })
const getAt = (productId: string, at: string) => call(getStock, { params: { productId }, query: { at } })

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

/** A product's ledger, oldest first. */
async function ledgerOf(productId: string): Promise<Movement[]> {
  const { body } = await call(await functionNamed('list-movements'), { params: { productId }, query: { limit: 200 } })
  expect(body.nextCursor).toBeNull()
  return body.items.reverse()
}

/** The balance of each location after the movements until `at`, in the order of the ledger. */
function replay(ledger: readonly Movement[], at: string) {
  const balances: Record<string, { onHand: number; reserved: number }> = {}
  for (const { location, occurredAt, onHandAfter, reservedAfter } of ledger)
    if (Date.parse(occurredAt) <= Date.parse(at)) balances[location] = { onHand: onHandAfter, reserved: reservedAfter }
  return balances
}

describe('get-stock at a past moment', () => {
  it('gives what the ledger had until then, at every moment of it', async () => {
    const { id } = await newProduct({ initialStock: 100 })
    await stockAt(id, 'shelf', 30)
    for (let turn = 0; turn < 8; turn++) {
      const location = turn % 3 === 0 ? 'shelf' : 'main'
      const reservations = await Promise.all([1, 2].map((quantity) => hold([{ productId: id, quantity, location }])))
      await adjustStock(id, { quantity: turn - 9, reason: 'lost', location }, context)
      await confirm(reservations[0]?.id ?? '', {}, context)
      if (turn % 2) await release(reservations[1]?.id ?? '', context)
    }
    const ledger = await ledgerOf(id)
    expect(ledger.length).toBeGreaterThan(30)
    const moments = new Set(ledger.flatMap(({ occurredAt }) => [-1, 0].map((ms) => shifted(occurredAt, ms))))
    for (const at of moments) {
      const { status, body } = await getAt(id, at)
      expect(status).toBe(200)
      const found = body.locations as Array<{ location: string; onHand: number; reserved: number }>
      const seen = found.filter(({ onHand, reserved }) => onHand + reserved > 0)
      expect(
        Object.fromEntries(seen.map(({ location, onHand, reserved }) => [location, { onHand, reserved }])),
        at,
      ).toEqual(replay(ledger, at))
      const onHand = found.reduce((sum, each) => sum + each.onHand, 0)
      const reserved = found.reduce((sum, each) => sum + each.reserved, 0)
      expect(body).toMatchObject({ productId: id, at, onHand, reserved, available: onHand - reserved })
    }
    const now = await get(id)
    expect({ ...(await getAt(id, ledger.at(-1)?.occurredAt ?? '')).body, at: undefined }).toEqual(now.body)
  })

  it('gives zeros before the first movement, and the moment as it was asked for', async () => {
    const { id } = await newProduct({ initialStock: 7 })
    for (const at of ['2020-02-29T23:30:00.25+02:00', '1969-12-31T00:00:00Z', '0000-01-01T00:00:00+23:59']) {
      expect((await getAt(id, at)).body).toEqual({
        productId: id,
        at,
        onHand: 0,
        reserved: 0,
        available: 0,
        locations: [{ location: 'main', onHand: 0, reserved: 0, available: 0 }],
      })
    }
  })

  it('counts an overdue hold until it is swept', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    const { id: reservationId, createdAt } = await hold([{ productId: id, quantity: 4 }])
    await expire(reservationId)
    expect((await getAt(id, createdAt)).body).toMatchObject({ reserved: 4, available: 6 })
    while ((await ledgerOf(id)).at(-1)?.type !== 'expired') await sweepReservations(context)
    const { occurredAt = '' } = (await ledgerOf(id)).at(-1) ?? {}
    expect((await getAt(id, createdAt)).body).toMatchObject({ reserved: 4 })
    expect((await getAt(id, occurredAt)).body).toMatchObject({ reserved: 0, available: 10 })
  })

  it('goes by the order of the ledger where the clock has stepped back', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    await stockAt(id, 'cellar', 5)
    for (let count = 0; count < 6; count++) await adjustStock(id, { quantity: 1, reason: 'received' }, context)
    const minutes = [50, 40, 30, 45, 20, 42, 10, 41]
    await sql`
      update stock_movements as movement set occurred_at = date_trunc('second', now()) - make_interval(mins => told.minutes)
      from (select sequence, (${minutes}::int[])[row_number() over (order by sequence)] as minutes
            from stock_movements where product_id = ${id}) as told
      where movement.product_id = ${id} and movement.sequence = told.sequence`
    const ledger = await ledgerOf(id)
    for (const { occurredAt } of ledger)
      for (const at of [shifted(occurredAt, -1), occurredAt]) {
        const { body } = await getAt(id, at)
        const { main, cellar } = replay(ledger, at)
        const [first, second] = body.locations
        expect([first.onHand, second.onHand], at).toEqual([main?.onHand ?? 0, cellar?.onHand ?? 0])
      }
  })

  it('refuses the future, and what is no time', async () => {
    const { id } = await newProduct({ initialStock: 1 })
    const future = [shifted(new Date().toISOString(), 60_000), '9999-12-31T23:59:59-23:59']
    const wrong = [
      '',
      'now',
      '2026-03-02',
      '2026-03-02T09:15:00',
      '2026-02-30T00:00:00Z',
      '2026-03-02T09:15:00 01:00',
      '0',
    ]
    for (const at of [...future, ...wrong])
      expect(await getAt(id, at)).toMatchObject({ status: 422, body: { errors: [{ path: 'at' }] } })
  })

  it('answers 404 for a product that never was, or is deleted', async () => {
    const { id } = await newProduct()
    await call(await functionNamed('delete-product'), { params: { productId: id } })
    for (const missing of [id, crypto.randomUUID()])
      expect(await getAt(missing, '2026-03-02T09:15:00Z')).toMatchObject({
        status: 404,
        body: { code: 'product_not_found' },
      })
  })
})

const shifted = (time: string, ms: number) => new Date(Date.parse(time) + ms).toISOString()
