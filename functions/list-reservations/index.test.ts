import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Product } from '#products/schema'
import { call, expectPaging, expire, hold, newProduct, sql, walk } from '#testing'
import listReservations from './index.ts'

const list = async (query: Record<string, string | number> = {}) =>
  (await call(listReservations, { query })).body.items.map((item: { id: string }) => item.id)

let one: Product
let two: Product

beforeAll(async () => {
  one = await newProduct({ initialStock: 1_000 })
  two = await newProduct({ initialStock: 1_000 })
})

beforeEach(async () => {
  await sql`truncate reservations cascade`
  await sql`update stock_levels set reserved = 0`
})

const holdOf = (product: Product, request = {}) => hold([{ productId: product.id, quantity: 1 }], request)

describe('list-reservations', () => {
  it('gives reservations as get-reservation does, newest first', async () => {
    const first = await holdOf(one, { reference: 'r', holder: 'h' })
    const second = await hold([
      { productId: two.id, quantity: 1 },
      { productId: one.id, quantity: 2 },
    ])
    const { status, body } = await call(listReservations)
    expect([status, body]).toEqual([200, { items: [second, first], nextCursor: null }])
  })

  it('gives an empty list where there is nothing', async () => {
    expect((await call(listReservations)).body).toEqual({ items: [], nextCursor: null })
  })

  it('filters by reference, holder and product, all filters together', async () => {
    const a = await holdOf(one, { reference: 'r1', holder: 'h1' })
    const b = await holdOf(two, { reference: 'r1', holder: 'h2' })
    const c = await hold([
      { productId: one.id, quantity: 1 },
      { productId: two.id, quantity: 1 },
    ])
    expect(await list({ reference: 'r1' })).toEqual([b.id, a.id])
    expect(await list({ holder: 'h1' })).toEqual([a.id])
    expect(await list({ productId: one.id })).toEqual([c.id, a.id])
    expect(await list({ productId: one.id.toUpperCase(), reference: 'r1' })).toEqual([a.id])
    expect(await list({ productId: crypto.randomUUID() })).toEqual([])
    expect(await list({ reference: 'r' })).toEqual([])
    expect(await list({ holder: 'h2', reference: 'r1', state: 'released' })).toEqual([])
  })

  it('filters by the state that is shown: a hold past its deadline is expired', async () => {
    const held = await holdOf(one)
    const overdue = await holdOf(one)
    const made: Record<string, string> = {}
    for (const state of ['expired', 'released', 'confirmed']) {
      made[state] = (await holdOf(one)).id
      await sql`update reservations set state = ${state} where id = ${made[state]}`
    }
    await expire(overdue.id)
    expect(await list({ state: 'held' })).toEqual([held.id])
    expect(await list({ state: 'expired' })).toEqual([made.expired, overdue.id])
    expect(await list({ state: 'released' })).toEqual([made.released])
    expect(await list({ state: 'confirmed' })).toEqual([made.confirmed])
  })

  it('is read in pages', async () => {
    await holdOf(one)
    await holdOf(one)
    await expectPaging(listReservations)
    await expectPaging(listReservations, { query: { productId: one.id, state: 'held' } })
  })

  it('gives each one that was there at the start exactly once, while others are made', async () => {
    const before: string[] = []
    for (let index = 0; index < 15; index++) before.unshift((await holdOf(one)).id)
    const items = await walk(listReservations, {}, 4, () => holdOf(one))
    expect(items.map(({ id }) => id)).toEqual(before)
  })

  it.each([
    ['state', { state: 'gone' }],
    ['productId', { productId: 'x' }],
    ['reference', { reference: 'x'.repeat(201) }],
    ['holder', { holder: 'x'.repeat(201) }],
  ])('refuses a wrong %s: %j', async (path, query) => {
    expect(await call(listReservations, { query })).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
