import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import {
  call,
  expectConsistent,
  expectNoEffect,
  functionNamed,
  hold,
  inRivalSession,
  newKey,
  newProduct,
  sql,
} from '#testing'
import { keysOwnReservations } from './ownership.ts'

const [reserve, get, list, extend, confirm, release] = await Promise.all([
  functionNamed('reserve-stock'),
  functionNamed('get-reservation'),
  functionNamed('list-reservations'),
  functionNamed('extend-reservation'),
  functionNamed('confirm-reservation'),
  functionNamed('release-reservation'),
])

function setTo(value: string | undefined): void {
  overrideEnvironment({ API_KEYS_OWN_RESERVATIONS: value })
}

let productId: string
let one: string
let other: string

beforeAll(async () => {
  productId = (await newProduct({ initialStock: 100 })).id
  one = await newKey('reservations:read', 'reservations:write')
  other = await newKey('reservations:read', 'reservations:write')
})
afterEach(expectConsistent)
afterAll(() => setTo(undefined))

const make = async (key: string | undefined, more: object = {}) =>
  (await call(reserve, { ...(key && { key }), body: { lines: [{ productId, quantity: 1 }], ...more } })).body
const changes = [
  ['extend', extend, { ttlSeconds: 60 }],
  ['confirm', confirm, {}],
  ['release', release, {}],
] as const
const stateOf = async (reservationId: string) => (await call(get, { params: { reservationId } })).body.state

describe('where API keys own reservations', () => {
  beforeAll(() => setTo('1'))

  it.each(changes)('another key can’t %s one, as if it were not there; its maker can', async (_, change, body) => {
    const { id: reservationId } = await make(one)
    const refused = await expectNoEffect(() => call(change, { key: other, params: { reservationId }, body }))
    expect(refused).toMatchObject({ status: 404, body: { code: 'reservation_not_found' } })
    expect((await call(change, { key: one, params: { reservationId }, body })).status).toBe(200)
  })

  it.each(changes)('an admin can %s anybody’s', async (_, change, body) => {
    const { id: reservationId } = await make(one)
    expect((await call(change, { params: { reservationId }, body })).status).toBe(200)
  })

  it('another key neither reads nor lists one; its maker and an admin do', async () => {
    const { id: reservationId } = await make(one, { reference: 'to-be-read' })
    const statuses = []
    for (const key of [one, other, undefined]) {
      statuses.push((await call(get, { ...(key && { key }), params: { reservationId } })).status)
    }
    expect(statuses).toEqual([200, 404, 200])
    const idsFor = async (key: string | undefined, query: Record<string, string>) =>
      (await call(list, { ...(key && { key }), query })).body.items.map(({ id }: { id: string }) => id)
    for (const query of [{}, { reference: 'to-be-read' }, { productId }]) {
      expect(await idsFor(one, query)).toContain(reservationId)
      expect(await idsFor(other, query)).not.toContain(reservationId)
      expect(await idsFor(undefined, query)).toContain(reservationId)
    }
  })

  it('a key’s new hold replaces its own of that holder and reference, and leaves another key’s alone', async () => {
    const name = { holder: 'alice', reference: 'cart-1' }
    const [first, foreign] = [await make(one, name), await make(other, name)]
    expect([await stateOf(first.id), await stateOf(foreign.id)]).toEqual(['held', 'held'])
    const second = await make(one, name)
    expect([await stateOf(first.id), await stateOf(second.id), await stateOf(foreign.id)]).toEqual([
      'released',
      'held',
      'held',
    ])
  })

  it('one from before makers were kept is an admin’s alone', async () => {
    const { id: reservationId } = await hold([{ productId, quantity: 1 }])
    await sql`update reservations set made_by = null where id = ${reservationId}`
    expect((await call(get, { key: one, params: { reservationId } })).status).toBe(404)
    expect((await call(release, { params: { reservationId }, body: {} })).status).toBe(200)
  })
})

describe('the migration that finds the makers of old holds', () => {
  beforeAll(() => setTo('1'))

  /** Runs the migration; returns the number of movements that it has read. */
  async function findMakers(): Promise<number> {
    const migration = new URL('../database/migrations/0020_makers_of_old_holds.sql', import.meta.url)
    const text = await readFile(migration, 'utf8')
    return inRivalSession(async (rival) => {
      const reads = async () => {
        const [row] = await rival<[{ count: number }]>`
          select seq_tup_read + idx_tup_fetch as count from pg_stat_xact_user_tables where relname = 'stock_movements'`
        return row.count
      }
      // The count includes other transactions of this session.
      const before = await reads()
      await rival.unsafe(text)
      const read = (await reads()) - before
      await rival`commit`
      return read
    })
  }
  const forget = (ids: string[]) => sql`update reservations set made_by = null where id = any(${ids}::uuid[])`

  it('gives each to whoever reserved it, of several products and lines too, and leaves those that have ended', async () => {
    const { id: second } = await newProduct({ initialStock: 100 })
    const lines = [second, productId].map((id) => ({ productId: id, quantity: 1 }))
    const [a, b, c, ended] = [
      await make(one),
      await make(other, { lines }),
      await make(one, { lines }),
      await make(one),
    ]
    await call(release, { key: one, params: { reservationId: ended.id }, body: {} })
    await forget([a.id, b.id, c.id, ended.id])
    await findMakers()
    const statuses = []
    for (const [key, { id: reservationId }] of [
      [other, a],
      [one, b],
      [other, c],
      [one, a],
      [other, b],
      [one, c],
    ] as const) {
      statuses.push((await call(release, { key, params: { reservationId }, body: {} })).status)
    }
    expect(statuses).toEqual([404, 404, 404, 200, 200, 200])
    expect(await sql`select made_by from reservations where id = ${ended.id}`).toEqual([{ made_by: null }])
  })

  it('leaves one that its maker has a newer one of', async () => {
    const name = { holder: 'carol', reference: 'cart-3' }
    const old = await make(one, name)
    await forget([old.id])
    const [newer, foreign] = [await make(one, name), await make(other, name)]
    await findMakers()
    expect(
      await sql`
      select id, made_by is null as "isNobodys" from reservations
      where holder = 'carol' and state = 'held' order by id`,
    ).toEqual([
      { id: old.id, isNobodys: true },
      { id: newer.id, isNobodys: false },
      { id: foreign.id, isNobodys: false },
    ])
    await Promise.all(
      [old, newer, foreign].map(({ id: reservationId }) => call(release, { params: { reservationId }, body: {} })),
    )
  })

  it('reads no more of the ledger than what came after them', async () => {
    const { id: popular } = await newProduct({ initialStock: 1_000 })
    const lines = [{ productId: popular, quantity: 1 }]
    for (let older = 0; older < 200; older++) await make(one, { lines })
    const { id } = await make(one, { lines })
    await make(other, { lines })
    await forget([id])
    // The server passes rows to a loop in groups of fifty.
    expect(await findMakers()).toBeLessThan(100)
    expect((await call(release, { key: one, params: { reservationId: id }, body: {} })).status).toBe(200)
  })
})

describe('where they do not', () => {
  beforeAll(() => setTo(undefined))

  it.each(changes)('any key with the scope can %s one', async (_, change, body) => {
    const { id: reservationId } = await make(one)
    expect((await call(change, { key: other, params: { reservationId }, body })).status).toBe(200)
  })

  it('a new hold replaces whatever is held under its holder and reference, of several keys as well', async () => {
    const name = { holder: 'bob', reference: 'cart-2' }
    setTo('1')
    const before = [await make(one, name), await make(other, name)]
    setTo(undefined)
    const made = await make(undefined, name)
    const [row] = await sql`select reserved from stock_levels where product_id = ${productId}`
    expect(await Promise.all([...before, made].map(({ id }) => stateOf(id)))).toEqual(['released', 'released', 'held'])
    const [{ held } = { held: 0 }] = await sql<Array<{ held: number }>>`
      select sum(quantity)::int as held from reservation_lines where held_until is not null and product_id = ${productId}`
    expect(row?.reserved).toBe(held)
  })
})

it('a value that is neither 0 nor 1 is refused at the start', () => {
  setTo('yes')
  expect(keysOwnReservations).toThrow('API_KEYS_OWN_RESERVATIONS: must be 0 or 1')
  setTo(undefined)
})
