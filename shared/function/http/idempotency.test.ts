import { randomUUID } from 'node:crypto'
import { afterAll, describe, expect, it } from 'vitest'
import {
  allFunctions,
  type CallOptions,
  type CallResult,
  call,
  expectConsistent,
  expectNoEffect,
  functionNamed,
  hold,
  newKey,
  newProduct,
  sql,
} from '#testing'

const createProduct = await functionNamed('create-product')
const updateProduct = await functionNamed('update-product')
const adjustStock = await functionNamed('adjust-stock')
const reserveStock = await functionNamed('reserve-stock')
const createApiKey = await functionNamed('create-api-key')
const createLocation = await functionNamed('create-location')
const extendReservation = await functionNamed('extend-reservation')
const confirmReservation = await functionNamed('confirm-reservation')
const releaseReservation = await functionNamed('release-reservation')

let made = 0
const newSku = () => `IDEM-${++made}`
const under = (key: string, options: CallOptions): CallOptions => ({
  ...options,
  headers: { ...options.headers, 'idempotency-key': key },
})
const records = async () => (await sql`select count(*)::int as count from idempotency_keys`)[0]?.count

afterAll(expectConsistent)

/** The parts of an answer that a replay must repeat. */
function essence({ status, headers, body }: CallResult) {
  return { status, body, location: headers.get('location'), etag: headers.get('etag') }
}

async function expectReplay(first: CallResult, second: CallResult) {
  expect(essence(second)).toEqual(essence(first))
  expect(first.headers.get('idempotent-replayed')).toBeNull()
  expect(second.headers.get('idempotent-replayed')).toBe('true')
}

/** A request that succeeds, for every function that takes a key. */
const requests: Record<string, () => Promise<CallOptions>> = {
  'create-product': async () => ({
    body: { sku: newSku(), name: 'x', initialStock: 3, price: { amount: 1, currency: 'EUR' } },
  }),
  'update-product': async () => ({ params: { productId: (await newProduct()).id }, body: { name: 'changed' } }),
  'adjust-stock': async () => ({
    params: { productId: (await newProduct()).id },
    body: { quantity: 5, reason: 'received', note: 'a note' },
  }),
  'adjust-stocks': async () => ({
    body: { adjustments: [{ productId: (await newProduct()).id, quantity: 5, reason: 'received' }] },
  }),
  'create-location': async () => ({ body: { code: newSku(), name: 'x', priority: 5 } }),
  'reserve-stock': async () => ({
    body: { lines: [{ productId: (await newProduct({ initialStock: 9 })).id, quantity: 2 }], reference: 'r' },
  }),
  'extend-reservation': async () => ({ params: { reservationId: await held() }, body: { ttlSeconds: 3_600 } }),
  'confirm-reservation': async () => ({ params: { reservationId: await held() }, body: {} }),
  'release-reservation': async () => ({ params: { reservationId: await held() } }),
  'count-stock': async () => ({ body: { counts: [{ productId: (await newProduct()).id, counted: 3 }] } }),
  'import-products': async () => ({ body: 'sku,name\r\nA,"B"', headers: { 'content-type': 'text/csv' } }),
  'submit-job': async () => ({ body: { type: 'verify-ledger', payload: {} } }),
  'redrive-dead-events': async () => ({ body: {} }),
  'redrive-dead-letters': async () => ({ body: {} }),
  'update-webhook': async () => ({ params: { webhookId: await webhook() }, body: { events: ['stock.out'] } }),
}

async function webhook(): Promise<string> {
  const body = { url: 'https://shop.example.org/hook', events: ['stock.low'] }
  return (await call(await functionNamed('create-webhook'), { body })).body.id
}

async function held() {
  const { id } = await newProduct({ initialStock: 9 })
  return (await hold([{ productId: id, quantity: 2 }])).id
}

describe('a repeated request', () => {
  it.each(Object.keys(requests))('of %s has one effect, and gets the first answer again', async (name) => {
    const definition = await functionNamed(name)
    const options = under(randomUUID(), (await requests[name]?.()) ?? {})
    const first = await call(definition, options)
    expect(first.status).toBeLessThan(300)
    const second = await expectNoEffect(() => call(definition, options))
    await expectReplay(first, second)
    expect(second.headers.get('consistency-token')).toBeTruthy()
  })

  it('is tried here for every function that takes a key', async () => {
    const takesKey = (await allFunctions()).filter(
      ({ trigger, isRead }) => trigger.kind === 'http' && ['POST', 'PATCH'].includes(trigger.method) && !isRead,
    )
    // A replay of these three lacks the secret, so tests of their own cover them.
    const covered = [...Object.keys(requests), 'create-api-key', 'create-webhook', 'rotate-webhook-secret']
    const later = takesKey.map(({ name }) => name).filter((name) => !covered.includes(name))
    expect(later).toEqual([])
  })

  it('is recognised whether its key is bare or quoted', async () => {
    const options = await requests['create-product']?.()
    const first = await call(createProduct, under('k-bare "q" \\', options ?? {}))
    const second = await call(createProduct, under('"k-bare \\"q\\" \\\\"', options ?? {}))
    await expectReplay(first, second)
    const length255 = 'x'.repeat(255)
    const sku = newSku()
    const third = await call(createProduct, under(`"${length255}"`, { body: { sku, name: 'x' } }))
    await expectReplay(third, await call(createProduct, under(length255, { body: { sku, name: 'x' } })))
  })

  it('is recognised whatever the order of its members and its white space', async () => {
    const sku = newSku()
    const key = randomUUID()
    const first = await call(
      createProduct,
      under(key, { body: `{"sku":"${sku}","name":"x","attributes":{"a":1,"b":{"c":2,"d":[1,2]}}}` }),
    )
    const second = await call(
      createProduct,
      under(key, { body: `{"attributes": {"b": {"d": [1, 2], "c": 2.0}, "a": 1},\n "name": "x", "sku": "${sku}"}` }),
    )
    await expectReplay(first, second)
  })

  it('gets a request id of its own in the header', async () => {
    const options = under(randomUUID(), { body: { sku: newSku(), name: 'x' } })
    await call(createProduct, { ...options, headers: { ...options.headers, 'request-id': 'first' } })
    const second = await call(createProduct, { ...options, headers: { ...options.headers, 'request-id': 'second' } })
    expect(second.headers.get('request-id')).toBe('second')
  })

  it('is replayed although it would fail by now, and although its body is no longer allowed', async () => {
    const options = under(randomUUID(), { params: { reservationId: await held() } })
    const first = await call(releaseReservation, options)
    await sql`update reservations set state = 'expired' where id = ${first.body.id}`
    await expectReplay(first, await call(releaseReservation, options))
    await sql`update reservations set state = 'released' where id = ${first.body.id}`
  })

  it('without the key is another request', async () => {
    const { id } = await newProduct()
    const options = { params: { productId: id }, body: { quantity: 1, reason: 'received' } }
    await call(adjustStock, options)
    const second = await call(adjustStock, options)
    expect([second.body.onHandAfter, second.headers.get('idempotent-replayed')]).toEqual([2, null])
  })
})

describe('a key that was used for another request', () => {
  const key = randomUUID()
  const sku = newSku()

  it.each([
    ['body', createProduct, { body: { sku, name: 'y' } }],
    ['extra member', createProduct, { body: { sku, name: 'x', description: null } }],
    ['order in a list', createProduct, { body: { sku, name: 'x', attributes: { list: [2, 1] } } }],
    ['route', createLocation, { body: { code: 'L-9', name: 'x', priority: 1 } }],
    ['method', updateProduct, { params: { productId: randomUUID() }, body: { sku, name: 'x' } }],
    [
      'product in the path',
      adjustStock,
      { params: { productId: randomUUID() }, body: { quantity: 1, reason: 'lost' } },
    ],
  ])('is refused with another %s, and nothing happens', async (_, definition, options) => {
    await call(createProduct, under(key, { body: { sku, name: 'x' } }))
    const answer = await expectNoEffect(() => call(definition, under(key, options)))
    expect(answer).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
    expect(answer.headers.get('idempotent-replayed')).toBeNull()
  })

  it('is free for another API key', async () => {
    const stranger = await newKey('products:write')
    await call(createProduct, under(key, { body: { sku, name: 'x' } }))
    const answer = await call(createProduct, under(key, { body: { sku: newSku(), name: 'x' }, key: stranger }))
    expect(answer.status).toBe(201)
    // Neither key sees the other's answer.
    const again = await call(createProduct, under(key, { body: { sku, name: 'x' } }))
    expect(again.body.sku).toBe(sku)
  })

  it('is free for any request 24 hours later', async () => {
    const old = randomUUID()
    await call(createProduct, under(old, { body: { sku: newSku(), name: 'x' } }))
    await sql`update idempotency_keys set created_at = now() - interval '24 hours' where key = ${old}`
    const answer = await call(createProduct, under(old, { body: { sku: newSku(), name: 'y' } }))
    expect([answer.status, answer.headers.get('idempotent-replayed')]).toEqual([201, null])
  })
})

describe('a failure', () => {
  it.each([
    ['404', adjustStock, async () => ({ params: { productId: randomUUID() }, body: { quantity: 1, reason: 'lost' } })],
    ['409', createProduct, async () => ({ body: { sku: (await newProduct()).sku, name: 'x' } })],
    [
      '409 with shortages',
      reserveStock,
      async () => ({ body: { lines: [{ productId: (await newProduct()).id, quantity: 2 }] } }),
    ],
    [
      '412',
      updateProduct,
      async () => ({
        params: { productId: (await newProduct()).id },
        body: { name: 'x' },
        headers: { 'if-match': '"7.7"' },
      }),
    ],
  ])(
    'of status %s is stored: the repeat gets the same problem, request id included',
    async (status, definition, make) => {
      const options = under(randomUUID(), await make())
      const first = await call(definition, options)
      expect(String(first.status)).toBe(status.slice(0, 3))
      // The cause of the refusal is gone, and the answer is still the first one.
      await sql`update products set deleted_at = now() where sku = ${first.body.sku ?? ''}`
      const second = await expectNoEffect(() => call(definition, options))
      await expectReplay(first, second)
      expect(second.body.requestId).toBe(first.headers.get('request-id'))
      expect(second.headers.get('content-type')).toBe('application/problem+json')
    },
  )

  it('that was stored is not tried again when it could succeed by now', async () => {
    const { id } = await newProduct()
    const options = under(randomUUID(), { body: { lines: [{ productId: id, quantity: 1 }] } })
    expect((await call(reserveStock, options)).status).toBe(409)
    await call(adjustStock, { params: { productId: id }, body: { quantity: 1, reason: 'received' } })
    const replay = await call(reserveStock, options)
    expect([replay.status, replay.headers.get('idempotent-replayed')]).toEqual([409, 'true'])
    expect((await call(reserveStock, { body: options.body })).status).toBe(201)
  })

  it.each([
    ['validation', createProduct, { body: { sku: 'not a sku', name: 'x' } }, 422],
    ['validation in the middle of the work', updateProduct, { body: { price: { amount: 1 } } }, 422],
    ['authentication', createProduct, { body: { sku: 'A', name: 'x' }, key: null }, 401],
    ['malformed JSON', createProduct, { body: '{' }, 400],
    ['an unsupported type', createProduct, { body: '{}', headers: { 'content-type': 'text/plain' } }, 415],
  ])('of %s is not stored: the key is free for a better request', async (_, definition, options, status) => {
    const before = await records()
    const key = randomUUID()
    const params = { productId: (await newProduct()).id }
    const answer = await call(definition, under(key, { params, ...options }))
    expect(answer.status).toBe(status)
    expect(await records()).toBe(before)
    const better = await call(definition, under(key, { params, body: { sku: newSku(), name: 'x' } }))
    expect(better.status).toBeLessThan(300)
  })

  it('for lack of scope is not stored', async () => {
    const before = await records()
    const key = await newKey('products:read')
    const answer = await call(createProduct, under(randomUUID(), { body: { sku: 'A', name: 'x' }, key }))
    expect(answer.status).toBe(403)
    expect(await records()).toBe(before)
  })
})

describe('a secret', () => {
  it('is in the first answer only: neither replayed nor stored', async () => {
    const options = under(randomUUID(), { body: { name: 'ci', scopes: ['stock:read'] } })
    const first = await call(createApiKey, options)
    expect(first.body.key).toMatch(/^smk_/)
    const second = await expectNoEffect(() => call(createApiKey, options))
    const { key, ...rest } = first.body
    expect(second.body).toEqual(rest)
    expect([second.status, second.headers.get('location')]).toEqual([201, first.headers.get('location')])
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    const [stored] = await sql`select string_agg(result::text, '') as text from idempotency_keys`
    expect(stored?.text).not.toContain(key.slice(-20))
    const [hashes] = await sql`select string_agg(api_keys::text, '') as text from api_keys`
    expect(hashes?.text).not.toContain(key.slice(-20))
  })
})

describe('40 equal requests at once', () => {
  it.each(['create-product', 'adjust-stock', 'reserve-stock', 'confirm-reservation'])(
    'of %s have one effect; the others get its answer or are told that it runs',
    async (name) => {
      const definition = await functionNamed(name)
      const options = under(randomUUID(), (await requests[name]?.()) ?? {})
      const movements = async () =>
        (
          await sql`select (select count(*) from stock_movements) as movements, (select count(*) from products) as products,
                        (select count(*) from reservations) as reservations`
        )[0] as Record<string, number>
      const before = await movements()
      const answers = await Promise.all(Array.from({ length: 40 }, () => call(definition, options)))
      const after = await movements()
      const done = answers.filter(({ status }) => status < 300)
      const first = done.filter(({ headers }) => headers.get('idempotent-replayed') === null)
      expect(first).toHaveLength(1)
      expect(new Set(done.map((answer) => JSON.stringify(essence(answer)))).size).toBe(1)
      for (const { status, body, headers } of answers.filter((answer) => answer.status >= 300)) {
        expect([status, body.code, headers.get('retry-after')]).toEqual([409, 'request_in_progress', '1'])
      }
      expect(Number(after.movements) - Number(before.movements)).toBe(1)
      expect(Number(after.products) - Number(before.products)).toBe(name === 'create-product' ? 1 : 0)
      expect(Number(after.reservations) - Number(before.reservations)).toBe(name === 'reserve-stock' ? 1 : 0)
    },
  )
})

describe('confirm, release and extend under a key', () => {
  it('are told apart by the path, not by the body alone', async () => {
    const key = randomUUID()
    const params = { reservationId: await held() }
    expect((await call(confirmReservation, under(key, { params, body: {} }))).status).toBe(200)
    const other = await call(releaseReservation, under(key, { params, body: {} }))
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
    const elsewhere = await call(extendReservation, under(key, { params, body: { ttlSeconds: 60 } }))
    expect(elsewhere.body.code).toBe('idempotency_key_reused')
  })
})
