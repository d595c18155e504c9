import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, expire, functionNamed, hold, newProduct, stockAt } from '#testing'
import queryAvailability from './index.ts'

const ask = (items: object[], headers: Record<string, string> = {}) =>
  call(queryAvailability, { body: { items }, headers })
const reserve = await functionNamed('reserve-stock')
const release = await functionNamed('release-reservation')
const setLimit = await functionNamed('set-limit')
const updateProduct = await functionNamed('update-product')
const deleteProduct = await functionNamed('delete-product')
const adjustStocks = await functionNamed('adjust-stocks')
const getStock = await functionNamed('get-stock')

afterAll(expectConsistent)

describe('query-availability', () => {
  it('answers each item in the order asked, one asked twice twice', async () => {
    const [mug, pan] = [await newProduct({ initialStock: 10 }), await newProduct({ initialStock: 4 })]
    await stockAt(mug.id, 'attic', 5)
    await hold([{ productId: mug.id, quantity: 3 }])
    const { status, body } = await expectNoEffect(() =>
      ask([
        { sku: pan.sku, quantity: 5 },
        { productId: mug.id.toUpperCase(), quantity: 7 },
        { sku: 'NOBODY' },
        { productId: mug.id, location: 'attic', quantity: 6 },
        { sku: pan.sku },
        { sku: 'NOBODY' },
        { sku: mug.sku, location: 'main', quantity: 7 },
      ]),
    )
    expect(status).toBe(200)
    const [ofMug, ofPan] = [
      { productId: mug.id, sku: mug.sku, version: 4 },
      { productId: pan.id, sku: pan.sku, version: 2, onHand: 4, reserved: 0, available: 4 },
    ]
    expect(body).toEqual({
      items: [
        { ...ofPan, fulfillable: false },
        { ...ofMug, onHand: 15, reserved: 3, available: 12, fulfillable: true },
        { ...ofMug, location: 'attic', onHand: 5, reserved: 0, available: 5, fulfillable: false },
        ofPan,
        { ...ofMug, location: 'main', onHand: 10, reserved: 3, available: 7, fulfillable: true },
      ],
      notFound: ['NOBODY', 'NOBODY'],
    })
  })

  it('names what it does not find as it was asked for: no product, a deleted one, what is no id', async () => {
    const deleted = await newProduct()
    await call(deleteProduct, { params: { productId: deleted.id } })
    const strange = ['', 'x', ' ', `${randomUUID()}0`, '\u0000', '語', "' or 1=1", '{}', 'a'.repeat(3_000)]
    const unknown = [randomUUID().toUpperCase(), deleted.id]
    const { status, body } = await ask([
      { sku: deleted.sku },
      ...[...unknown, ...strange].map((productId) => ({ productId, quantity: 1 })),
      { productId: '\ud800' },
    ])
    expect(status).toBe(200)
    expect(body).toEqual({ items: [], notFound: [deleted.sku, ...unknown, ...strange, '\ufffd'] })
  })

  it('takes a sku for a sku, even one that looks like an id', async () => {
    const { id } = await newProduct()
    const sku = randomUUID()
    const odd = await newProduct({ sku })
    const { body } = await ask([{ productId: sku }, { sku }, { sku: id }, { productId: id }])
    expect(body.items.map(({ productId }: { productId: string }) => productId)).toEqual([odd.id, id])
    expect(body.notFound).toEqual([sku, id])
  })

  it('gives zeros at a location where the product has never been, and 404 for one that is not there', async () => {
    const { id, sku } = await newProduct({ initialStock: 3 })
    await stockAt((await newProduct()).id, 'elsewhere', 1)
    const { body } = await ask([{ productId: id, location: 'elsewhere', quantity: 1 }])
    expect(body.items).toEqual([
      {
        productId: id,
        sku,
        location: 'elsewhere',
        onHand: 0,
        reserved: 0,
        available: 0,
        version: 2,
        fulfillable: false,
      },
    ])
    for (const product of [{ productId: id }, { sku: 'NOBODY' }]) {
      const answer = await ask([{ sku }, { ...product, location: 'nowhere' }])
      expect(answer).toMatchObject({ status: 404, body: { code: 'location_not_found' } })
    }
  })

  it('does not count a hold past its deadline, swept or not', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    await stockAt(id, 'attic', 6)
    const overdue = await Promise.all([
      hold([{ productId: id, quantity: 2 }]),
      hold([{ productId: id, quantity: 3 }]),
      hold([{ productId: id, quantity: 4, location: 'attic' }]),
    ])
    await hold([{ productId: id, quantity: 1 }])
    await expire(...overdue.map((reservation) => reservation.id))
    const { body } = await expectNoEffect(() =>
      ask([{ productId: id }, { productId: id, location: 'attic', quantity: 6 }]),
    )
    expect(body.items).toMatchObject([
      { onHand: 16, reserved: 1, available: 15 },
      { onHand: 6, reserved: 0, available: 6, fulfillable: true },
    ])
    const stock = await call(getStock, { params: { productId: id } })
    expect(stock.body).toMatchObject({ onHand: 16, reserved: 1, available: 15 })
  })

  it.each([
    ['none', []],
    ['501', Array(501).fill({ sku: 'A' })],
    ['one that names nothing', [{ quantity: 1 }]],
    ['one that names its product twice', [{ productId: randomUUID(), sku: 'A' }]],
    ['an id that is no text', [{ productId: 1 }]],
    ['a sku that none can have', [{ sku: 'a b' }]],
    ['a quantity of 0', [{ sku: 'A', quantity: 0 }]],
    ['half a piece', [{ sku: 'A', quantity: 0.5 }]],
    ['a location that none can have', [{ sku: 'A', location: 'a b' }]],
    ['an unknown member', [{ sku: 'A', colour: 'red' }]],
  ])('refuses %s', async (_case, items) => {
    expect(await ask(items)).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
  })

  it('ignores an Idempotency-Key, whatever it is, and keeps none', async () => {
    const { sku } = await newProduct({ initialStock: 1 })
    const key = randomUUID()
    for (const header of [key, key, '', 'x'.repeat(300)]) {
      const { status, headers } = await expectNoEffect(() => ask([{ sku }], { 'idempotency-key': header }))
      expect([status, headers.get('idempotent-replayed')]).toEqual([200, null])
    }
    expect((await ask([{ sku, quantity: 1 }], { 'idempotency-key': key })).body.items).toMatchObject([
      { fulfillable: true },
    ])
  })

  it('answers 500 items, all of them different', async () => {
    const made: Array<{ id: string; sku: string }> = []
    while (made.length < 500) {
      const numbers = Array.from({ length: 50 }, (_, index) => made.length + index + 1)
      made.push(...(await Promise.all(numbers.map((n) => newProduct({ sku: `MANY-${n}`, initialStock: n })))))
    }
    const asked = made.map(({ id, sku }, index) => ({ ...(index % 2 ? { productId: id } : { sku }), quantity: 250 }))
    const { body } = await ask(asked)
    expect(body.notFound).toEqual([])
    expect(body.items).toEqual(
      made.map(({ id, sku }) => {
        const onHand = Number(sku.slice('MANY-'.length))
        const stock = { onHand, reserved: 0, available: onHand }
        return { productId: id, sku, ...stock, version: 2, fulfillable: onHand >= 250 }
      }),
    )
  })

  it('calls fulfillable what reserve-stock holds, and nothing else', async () => {
    const product = await newProduct({ initialStock: 6 })
    await stockAt(product.id, 'front', 4, -5)
    await stockAt(product.id, 'back', 9, 15)
    await stockAt((await newProduct()).id, 'empty', 0)
    const params = { productId: product.id }
    const limit = fc.option(fc.integer({ min: 1, max: 10 }))
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          quantity: fc.integer({ min: 1, max: 12 }),
          location: fc.option(fc.constantFrom('front', 'main', 'back', 'empty'), { nil: undefined }),
          limits: fc.record({ perReservation: limit, perHolder: limit }),
          status: fc.oneof({ weight: 4, arbitrary: fc.constant('active') }, fc.constant('archived')),
          held: fc.option(fc.record({ quantity: fc.integer({ min: 1, max: 4 }), isOverdue: fc.boolean() })),
        }),
        async ({ quantity, location, limits, status, held }) => {
          await call(setLimit, { params, body: { perReservation: null, perHolder: null } })
          await call(updateProduct, { params, body: { status: 'active' } })
          const holding =
            held && (await hold([{ productId: product.id, quantity: held.quantity }], { holder: 'another' }))
          if (holding && held.isOverdue) await expire(holding.id)
          await call(setLimit, { params, body: limits })
          await call(updateProduct, { params, body: { status } })

          const line = { productId: product.id, quantity, ...(location !== undefined && { location }) }
          const { body } = await ask([line])
          const reserved = await call(reserve, { body: { lines: [line], holder: randomUUID() } })
          expect(body.items[0].fulfillable).toBe(reserved.status === 201)

          const ids = [reserved.body.id, holding?.id].filter((id) => id !== undefined)
          for (const reservationId of ids) await call(release, { params: { reservationId } })
        },
      ),
      { numRuns: 100 },
    )
  })

  it('answers with one moment, while others move stock between the products', async () => {
    const [here, there] = [await newProduct({ initialStock: 50 }), await newProduct({ initialStock: 50 })]
    let isOver = false
    const move = async (from: string, to: string) => {
      for (let moves = 0; moves < 100; moves++) {
        const { status } = await call(adjustStocks, {
          body: {
            adjustments: [
              { productId: from, quantity: -1, reason: 'correction' },
              { productId: to, quantity: 1, reason: 'correction' },
            ],
          },
        })
        expect([201, 409]).toContain(status)
      }
    }
    const sums = new Set<number>()
    let answers = 0
    const watch = async () => {
      for (; !isOver; answers++) {
        const { body } = await ask([{ productId: here.id }, { sku: there.sku }])
        sums.add(body.items[0].onHand + body.items[1].onHand)
      }
    }
    const watching = Promise.all([watch(), watch(), watch(), watch()])
    await Promise.all([move(here.id, there.id), move(there.id, here.id), move(here.id, there.id)])
    isOver = true
    await watching
    expect([...sums]).toEqual([100])
    expect(answers).toBeGreaterThan(20)
  })
})
