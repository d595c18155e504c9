import { afterAll, describe, expect, it } from 'vitest'
import {
  ADMIN_KEY,
  blocked,
  call,
  expectConsistent,
  expectNoEffect,
  expire,
  functionNamed,
  hold,
  inRivalSession,
  newProduct,
  newProducts,
  sql,
  stockAt,
} from '#testing'
import reserveStock from './index.ts'

const updateProduct = await functionNamed('update-product')

const reserve = (body: object) => call(reserveStock, { body })
const one = (productId: string, quantity = 1) => ({ lines: [{ productId, quantity }] })
const reservedOf = async (productId: string) =>
  (await sql`select sum(reserved)::int as reserved from stock_levels where product_id = ${productId}`)[0]?.reserved
const stateOf = async (id: string) => (await sql`select state from reservations where id = ${id}`)[0]?.state

afterAll(expectConsistent)

describe('reserve-stock', () => {
  it('does nothing for a client that hangs up before its turn', async () => {
    const { id: productId } = await newProduct({ initialStock: 5 })
    const send = (signal: AbortSignal) =>
      reserveStock.app.fetch(
        new Request('http://localhost/v1/reservations', {
          method: 'POST',
          headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
          body: JSON.stringify(one(productId)),
          signal,
        }),
      )
    const leaving = new AbortController()
    const staying = new AbortController()
    const answers = await inRivalSession(async (rival) => {
      await rival`select 1 from stock_levels where product_id = ${productId} for update`
      const first = send(staying.signal)
      await blocked()
      const others = [send(leaving.signal), send(staying.signal)]
      leaving.abort()
      return [first, ...others]
    })
    const statuses = (await Promise.all(answers)).map(({ status }) => status)
    expect(statuses).toEqual([201, 499, 201])
    expect(await reservedOf(productId)).toBe(2)
  })

  it('holds stock for 15 minutes unless told', async () => {
    const { id: productId, sku } = await newProduct({ initialStock: 5 })
    const { status, body, headers } = await reserve(one(productId, 2))
    expect(status).toBe(201)
    expect(headers.get('location')).toBe(`/v1/reservations/${body.id}`)
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(body).toEqual({
      id: body.id,
      state: 'held',
      lines: [{ productId, sku, location: 'main', quantity: 2, confirmedQuantity: 0 }],
      reference: null,
      holder: null,
      expiresAt: body.expiresAt,
      createdAt: body.createdAt,
      updatedAt: body.createdAt,
    })
    expect(Date.parse(body.expiresAt) - Date.parse(body.createdAt)).toBe(900_000)
    expect(await reservedOf(productId)).toBe(2)
    const [event] = await sql`
      select type, version, data from outbox where product_id = ${productId} order by sequence desc limit 1`
    expect(event).toMatchObject({
      type: 'stock.reserved',
      version: 3,
      data: {
        reservationId: body.id,
        onHandDelta: 0,
        reservedDelta: 2,
        stock: { onHand: 5, reserved: 2, available: 3 },
      },
    })
  })

  it.each([5, 86_400])('holds it for %d s if told', async (ttlSeconds) => {
    const { id } = await newProduct({ initialStock: 5 })
    const { body } = await reserve({ ...one(id), ttlSeconds, reference: 'order 1', holder: 'Zoë 🎉' })
    expect(body).toMatchObject({ reference: 'order 1', holder: 'Zoë 🎉' })
    expect(Date.parse(body.expiresAt) - Date.parse(body.createdAt)).toBe(ttlSeconds * 1_000)
  })

  it('takes products by id or by sku, in any case of the id, and sums the lines of one product', async () => {
    const [a, b] = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
    const { body } = await reserve({
      lines: [
        { productId: a.id, quantity: 1 },
        { sku: b.sku, quantity: 2 },
        { sku: a.sku, quantity: 3 },
        { productId: a.id.toUpperCase(), quantity: 1 },
      ],
    })
    expect(body.lines).toMatchObject([
      { productId: a.id, sku: a.sku, quantity: 5 },
      { productId: b.id, sku: b.sku, quantity: 2 },
    ])
    expect([await reservedOf(a.id), await reservedOf(b.id)]).toEqual([5, 2])
  })

  it('takes all that is free, and not one more', async () => {
    const product = await newProduct({ initialStock: 5 })
    await hold([{ productId: product.id, quantity: 2 }])
    const short = await expectNoEffect(() => reserve(one(product.id, 4)))
    expect(short).toMatchObject({
      status: 409,
      body: {
        code: 'insufficient_stock',
        shortages: [{ productId: product.id, sku: product.sku, requested: 4, available: 3 }],
      },
    })
    expect((await reserve(one(product.id, 3))).status).toBe(201)
  })

  it('sums the lines of one product before it checks them', async () => {
    const product = await newProduct({ initialStock: 5 })
    const lines = [
      { productId: product.id, quantity: 3 },
      { sku: product.sku, quantity: 3 },
    ]
    const answer = await expectNoEffect(() => reserve({ lines }))
    expect(answer.body.shortages).toEqual([{ productId: product.id, sku: product.sku, requested: 6, available: 5 }])
  })

  it('holds every line or none, and lists every short one', async () => {
    const [plenty, little, none] = [
      await newProduct({ initialStock: 50 }),
      await newProduct({ initialStock: 1 }),
      await newProduct(),
    ]
    const lines = [
      { productId: none.id, quantity: 1 },
      { productId: plenty.id, quantity: 10 },
      { sku: little.sku, quantity: 2 },
    ]
    const answer = await expectNoEffect(() => reserve({ lines }))
    expect(answer.status).toBe(409)
    expect(answer.body.shortages).toEqual([
      { productId: none.id, sku: none.sku, requested: 1, available: 0 },
      { productId: little.id, sku: little.sku, requested: 2, available: 1 },
    ])
  })

  it('takes a hundred lines', async () => {
    const products = await newProducts(100, { initialStock: 1 })
    const { status, body } = await reserve({ lines: products.map(({ id }) => ({ productId: id, quantity: 1 })) })
    expect([status, body.lines.length]).toEqual([201, 100])
  })

  it('refuses more than could ever be, without overflowing', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    const lines = Array.from({ length: 100 }, () => ({ productId: id, quantity: 1_000_000_000 }))
    const answer = await expectNoEffect(() => reserve({ lines }))
    expect(answer.body.shortages).toMatchObject([{ requested: 100_000_000_000, available: 5 }])
  })

  it('refuses an unknown or deleted product, and an unknown location; nothing is held', async () => {
    const [{ id }, gone] = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
    await sql`update products set deleted_at = now() where id = ${gone.id}`
    for (const missing of [
      { productId: crypto.randomUUID() },
      { productId: gone.id },
      { sku: gone.sku },
      { sku: 'none' },
    ]) {
      const lines = [
        { productId: id, quantity: 1 },
        { ...missing, quantity: 1 },
      ]
      const answer = await expectNoEffect(() => reserve({ lines }))
      expect(answer).toMatchObject({ status: 404, body: { code: 'product_not_found' } })
    }
    const nowhere = await expectNoEffect(() =>
      reserve({ lines: [{ productId: id, quantity: 1, location: 'nowhere' }] }),
    )
    expect(nowhere).toMatchObject({ status: 404, body: { code: 'location_not_found' } })
  })

  it('refuses an archived product, before what is short, and lets what is held of it go its way', async () => {
    const [{ id, sku }, other] = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
    const cart = { holder: 'shopper', reference: 'archived' }
    const holds = [await hold([{ productId: id, quantity: 1 }], cart), await hold([{ productId: id, quantity: 1 }])]
    const archive = (status: string) => call(updateProduct, { params: { productId: id }, body: { status } })
    expect((await archive('archived')).status).toBe(200)
    for (const body of [
      one(id),
      one(id, 99),
      { lines: [{ sku, quantity: 1 }] },
      { lines: [...one(other.id, 99).lines, ...one(id).lines] },
      { ...one(id), ...cart },
    ]) {
      const answer = await expectNoEffect(() => reserve(body))
      expect(answer).toMatchObject({ status: 409, body: { code: 'product_archived' } })
    }
    const settle = async (name: string, hold?: { id: string }, body?: object) =>
      (await call(await functionNamed(name), { params: { reservationId: hold?.id ?? '' }, body })).status
    expect(await settle('extend-reservation', holds[0], { ttlSeconds: 60 })).toBe(200)
    expect(await settle('confirm-reservation', holds[0])).toBe(200)
    expect(await settle('release-reservation', holds[1])).toBe(200)
    await archive('active')
    expect((await reserve(one(id))).status).toBe(201)
  })

  it('lets an archived product’s hold make way for another cart', async () => {
    const [archived, other] = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
    const cart = { holder: 'shopper', reference: 'changed' }
    const old = await hold([{ productId: archived.id, quantity: 1 }], cart)
    await sql`update products set status = 'archived' where id = ${archived.id}`
    expect((await reserve({ ...one(other.id), ...cart })).status).toBe(201)
    expect(await stateOf(old.id)).toBe('released')
  })

  it('sums lines past what one of them may ask for, as its answer’s schema allows', async () => {
    const { id: productId } = await newProduct({ initialStock: 1_000_000_000 })
    await stockAt(productId, 'main', 1_000_000_000)
    const billion = { productId, quantity: 1_000_000_000 }
    // `call` checks the answer against the schema.
    const { status, body } = await reserve({ lines: [billion, billion] })
    expect([status, body.lines[0].quantity]).toEqual([201, 2_000_000_000])
    const confirm = { params: { reservationId: body.id }, body: { lines: [{ productId, quantity: 2_000_000_000 }] } }
    expect((await call(await functionNamed('confirm-reservation'), confirm)).status).toBe(200)
  })

  it.each([
    ['lines', { lines: undefined }],
    ['lines', { lines: [] }],
    ['lines', { lines: {} }],
    ['lines', { lines: Array.from({ length: 101 }, () => ({ sku: 'x', quantity: 1 })) }],
    ['lines.0.quantity', { lines: [{ sku: 'x' }] }],
    ['lines.0.quantity', { lines: [{ sku: 'x', quantity: 0 }] }],
    ['lines.0.quantity', { lines: [{ sku: 'x', quantity: -1 }] }],
    ['lines.0.quantity', { lines: [{ sku: 'x', quantity: 1.5 }] }],
    ['lines.0.quantity', { lines: [{ sku: 'x', quantity: '1' }] }],
    ['lines.0.quantity', { lines: [{ sku: 'x', quantity: 1_000_000_001 }] }],
    [
      'lines.1.productId',
      {
        lines: [
          { sku: 'x', quantity: 1 },
          { productId: 'x', quantity: 1 },
        ],
      },
    ],
    ['lines.0.sku', { lines: [{ sku: 'a b', quantity: 1 }] }],
    ['lines.0', { lines: [{ quantity: 1 }] }],
    ['lines.0', { lines: [{ sku: 'x', productId: crypto.randomUUID(), quantity: 1 }] }],
    ['lines.0.location', { lines: [{ sku: 'x', quantity: 1, location: '' }] }],
    ['lines.0.price', { lines: [{ sku: 'x', quantity: 1, price: 1 }] }],
    ['ttlSeconds', { ttlSeconds: 4 }],
    ['ttlSeconds', { ttlSeconds: 86_401 }],
    ['ttlSeconds', { ttlSeconds: 5.5 }],
    ['ttlSeconds', { ttlSeconds: null }],
    ['reference', { reference: '' }],
    ['reference', { reference: 'x'.repeat(201) }],
    ['reference', { reference: 'a\u0000' }],
    ['holder', { holder: 'a\n' }],
    ['holder', { holder: 1 }],
    ['state', { state: 'confirmed' }],
    ['expiresAt', { expiresAt: '2999-01-01T00:00:00Z' }],
  ])('refuses a wrong %s: %j', async (path, members) => {
    const answer = await expectNoEffect(() => reserve({ lines: [{ sku: 'x', quantity: 1 }], ...members }))
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    expect(answer.body.errors.map((error: { path: string }) => error.path)).toEqual([path])
  })
})

describe('reserve-stock over several locations', () => {
  async function spread(main: number, near: number, far: number) {
    const product = await newProduct({ initialStock: main })
    await stockAt(product.id, 'near', near, -10)
    await stockAt(product.id, 'far', far, 10)
    return product
  }
  const served = async (productId: string, quantity: number) => {
    const { status, body } = await reserve(one(productId, quantity))
    return status === 201 ? body.lines.map((line: { location: string }) => line.location) : body.shortages
  }

  it('serves a line whole from the first, by priority, that can', async () => {
    const { id, sku } = await spread(6, 3, 9)
    expect(await served(id, 3)).toEqual(['near'])
    expect(await served(id, 3)).toEqual(['main'])
    expect(await served(id, 4)).toEqual(['far'])
    expect(await served(id, 4)).toEqual(['far'])
    // Two locations have 1 and 3 left: 4 in total, but neither location has 4.
    expect(await served(id, 4)).toEqual([{ productId: id, sku, requested: 4, available: 3 }])
    expect(await served(id, 3)).toEqual(['main'])
    expect(await served(id, 1)).toEqual(['far'])
  })

  it('serves a line that names a location from there alone', async () => {
    const { id, sku } = await spread(6, 3, 9)
    const answer = await expectNoEffect(() => reserve({ lines: [{ productId: id, quantity: 4, location: 'near' }] }))
    expect(answer.body.shortages).toEqual([{ productId: id, sku, requested: 4, available: 3 }])
    const { body } = await reserve({ lines: [{ productId: id, quantity: 3, location: 'near' }] })
    expect(body.lines).toMatchObject([{ location: 'near', quantity: 3 }])
  })

  it('serves lines that name a location before those that can go elsewhere', async () => {
    const { id } = await spread(6, 3, 9)
    const { status, body } = await reserve({
      lines: [
        { productId: id, quantity: 3 },
        { productId: id, quantity: 2, location: 'near' },
        { productId: id, quantity: 1, location: 'near' },
      ],
    })
    expect(status).toBe(201)
    expect(body.lines).toHaveLength(2)
    expect(body.lines).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ location: 'near', quantity: 3 }),
        expect.objectContaining({ location: 'main', quantity: 3 }),
      ]),
    )
  })

  it('refuses a location that has never had the product', async () => {
    const { id } = await spread(6, 3, 9)
    await stockAt(id, 'empty', 0)
    const answer = await expectNoEffect(() => reserve({ lines: [{ productId: id, quantity: 1, location: 'empty' }] }))
    expect(answer).toMatchObject({ status: 409, body: { shortages: [{ available: 0 }] } })
  })
})

describe('a hold past its deadline', () => {
  it('does not stand in the way, swept or not, and ends as expired', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    const overdue = await hold([{ productId: id, quantity: 5 }])
    expect((await reserve(one(id, 5))).status).toBe(409)
    await expire(overdue.id)
    expect((await reserve(one(id, 5))).status).toBe(201)
    expect(await stateOf(overdue.id)).toBe('expired')
    expect(await reservedOf(id)).toBe(5)
  })

  it('gives back what it held of other products too', async () => {
    const [a, b] = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
    const overdue = await hold([
      { productId: a.id, quantity: 5 },
      { productId: b.id, quantity: 5 },
    ])
    await expire(overdue.id)
    await reserve(one(a.id, 1))
    expect([await reservedOf(a.id), await reservedOf(b.id)]).toEqual([1, 0])
  })

  it('does not stand in the way even where there are more of them than one transaction ends', async () => {
    const { id, sku } = await newProduct({ initialStock: 1_200 })
    await sql`
      with made as (
        insert into reservations (id, state, expires_at, created_at, updated_at)
        select uuidv7(), 'held', now() - interval '1 minute', now(), now() from generate_series(1, 1200) returning id, expires_at
      ), line as (
        insert into reservation_lines (reservation_id, line, product_id, sku, location, quantity, held_until)
        select id, 1, ${id}, ${sku}, 'main', 1, expires_at from made returning reservation_id
      ), level as (
        update stock_levels set reserved = 1200, version = version + 1200 where product_id = ${id} returning version
      ), movement as (
        insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after,
                                     reserved_after, reservation_id, actor, occurred_at)
        select ${id}, uuidv7(), 'main', 'reserved', 0, 1, 1200, row_number() over (), reservation_id, 'test', now() from line
        returning reserved_after
      )
      insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
      select uuidv7(), 'stock-events', 'stock.reserved', ${id}, reserved_after + 2,
             json_build_object('version', reserved_after + 2), now(), ''
      from movement order by reserved_after`
    expect((await reserve(one(id, 1_200))).status).toBe(201)
    expect(
      await sql`select state, count(*)::int from reservations where id in (
      select reservation_id from reservation_lines where product_id = ${id}) group by state order by state`,
    ).toEqual([
      { state: 'expired', count: 1_200 },
      { state: 'held', count: 1 },
    ])
  })

  it('that another session is just ending does not break the request', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    const overdue = await hold([{ productId: id, quantity: 5 }])
    await expire(overdue.id)
    const answers = await Promise.all(Array.from({ length: 10 }, () => reserve(one(id, 1))))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(5)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(5)
  })
})

describe('a reservation with the holder and reference of a held one', () => {
  const cart = (productId: string, quantity: number, holder = 'shopper', reference = 'cart') => ({
    ...one(productId, quantity),
    holder,
    reference,
  })

  it('replaces it: what it holds counts as free, and it ends as released', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    const first = await reserve(cart(id, 4))
    const second = await reserve(cart(id, 5))
    expect([first.status, second.status]).toEqual([201, 201])
    expect(second.body.id).not.toBe(first.body.id)
    expect([await stateOf(first.body.id), await stateOf(second.body.id)]).toEqual(['released', 'held'])
    expect(await reservedOf(id)).toBe(5)
    const movements = await sql`
      select type, reserved_delta, reservation_id from stock_movements where product_id = ${id} and sequence > (
        select min(sequence) from stock_movements where product_id = ${id}) order by sequence`
    expect(movements).toEqual([
      { type: 'reserved', reserved_delta: 4, reservation_id: first.body.id },
      { type: 'released', reserved_delta: -4, reservation_id: first.body.id },
      { type: 'reserved', reserved_delta: 5, reservation_id: second.body.id },
    ])
  })

  it('leaves the old one held if the new one is refused', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    const first = await reserve(cart(id, 4, 'a', 'refused'))
    const second = await expectNoEffect(() => reserve(cart(id, 6, 'a', 'refused')))
    expect(second).toMatchObject({ status: 409, body: { shortages: [{ requested: 6, available: 5 }] } })
    expect(await stateOf(first.body.id)).toBe('held')
  })

  it('replaces it across products and locations', async () => {
    const [a, b] = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
    await stockAt(a.id, 'other', 5)
    const lines = [
      { productId: a.id, quantity: 5, location: 'other' },
      { productId: b.id, quantity: 2 },
    ]
    await reserve({ lines, holder: 'a', reference: 'across' })
    await reserve(cart(b.id, 5, 'a', 'across'))
    expect([await reservedOf(a.id), await reservedOf(b.id)]).toEqual([0, 5])
  })

  it('replaces nothing where only one of the two is equal, or one is missing', async () => {
    const { id } = await newProduct({ initialStock: 50 })
    const bodies = [
      cart(id, 1, 'h1', 'r1'),
      cart(id, 1, 'h1', 'r2'),
      cart(id, 1, 'h2', 'r1'),
      { ...one(id), holder: 'h1' },
      { ...one(id), reference: 'r1' },
      { ...one(id), reference: 'r1', holder: null },
      one(id),
    ]
    for (const body of bodies) expect((await reserve(body)).status).toBe(201)
    expect(await reservedOf(id)).toBe(7)
  })

  it('replaces no reservation that has ended', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    const first = await reserve(cart(id, 2, 'a', 'ended'))
    await expire(first.body.id)
    expect((await reserve(cart(id, 5, 'a', 'ended'))).status).toBe(201)
    expect(await stateOf(first.body.id)).toBe('expired')
  })

  it('leaves exactly one held when many arrive at once, whatever they hold', async () => {
    const [a, b] = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => reserve(cart(index % 2 ? a.id : b.id, 1 + (index % 5), 'a', 'race'))),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201))
    expect(await sql`select 1 from reservations where reference = 'race' and state = 'held'`).toHaveLength(1)
    expect(await sql`select 1 from reservations where reference = 'race' and state = 'released'`).toHaveLength(19)
  })
})
