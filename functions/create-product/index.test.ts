import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, expectNoEffect, newKey, newProduct, sql } from '#testing'
import createProduct from './index.ts'

const send = (body: object) => call(createProduct, { body })

afterAll(expectConsistent)

describe('create-product', () => {
  it('creates with only sku and name, and fills in the rest', async () => {
    const { status, body, headers } = await send({ sku: 'MUG-1', name: 'Mug' })
    expect(status).toBe(201)
    expect(headers.get('location')).toBe(`/v1/products/${body.id}`)
    expect(headers.get('etag')).toBe('"1.1"')
    expect(headers.get('consistency-token')).toMatch(/^[0-9A-F]+-[0-9A-F]+\/[0-9A-F]+$/)
    expect(body).toMatchObject({
      sku: 'MUG-1',
      description: null,
      price: null,
      attributes: {},
      status: 'active',
      lowStockThreshold: null,
      version: 1,
      stock: { onHand: 0, reserved: 0, available: 0 },
    })
    expect(body.id[14]).toBe('7')
    expect(body.createdAt).toBe(body.updatedAt)
  })

  it('keeps every member as it was sent, and receives the initial stock at main', async () => {
    const members = {
      sku: 'aZ0._-',
      name: 'Käßmug 語 🎉',
      description: 'Line one\n\tline two',
      price: { amount: 1999, currency: 'EUR' },
      attributes: { colour: 'red', sizes: [1, 2.5, null, { deep: true }], empty: {} },
      status: 'archived',
      lowStockThreshold: 5,
    }
    const { body, headers } = await send({ ...members, initialStock: 12 })
    expect(body).toMatchObject({ ...members, stock: { onHand: 12, reserved: 0, available: 12 } })
    expect(headers.get('etag')).toBe('"1.2"')
    const movements = await sql`
      select type, location, on_hand_delta, on_hand_after, reason, actor from stock_movements where product_id = ${body.id}`
    expect(movements).toEqual([
      {
        type: 'adjustment',
        location: 'main',
        on_hand_delta: 12,
        on_hand_after: 12,
        reason: 'received',
        actor: 'api-key:00000000-0000-7000-8000-000000000000',
      },
    ])
    const events = await sql`select type, topic, version from outbox where product_id = ${body.id} order by sequence`
    expect(events).toEqual([
      { type: 'product.created', topic: 'product-events', version: 1 },
      { type: 'stock.adjusted', topic: 'stock-events', version: 2 },
    ])
  })

  it('takes null for a member that is left out', async () => {
    const { status, body } = await send({
      sku: 'NULLS',
      name: 'x',
      description: null,
      price: null,
      lowStockThreshold: null,
    })
    expect([status, body.description, body.price, body.lowStockThreshold]).toEqual([201, null, null, null])
  })

  it('keeps attributes of any JSON', async () => {
    const attributes = {
      'a.b': [[], {}],
      constructor: 'x',
      big: 1e300,
      small: -0.5,
      text: 'ü"\\ \\u0000 🎉\n',
      no: null,
    }
    const { status, body } = await send({ sku: 'ANY-JSON', name: 'x', attributes })
    expect([status, body.attributes]).toEqual([201, attributes])
  })

  it('refuses an attribute named __proto__, at any depth, rather than lose it', async () => {
    for (const [json, path] of [
      ['{"__proto__":{"a":1},"b":2}', 'attributes.__proto__'],
      ['{"a":[{"__proto__":null}]}', 'attributes.a.0.__proto__'],
    ]) {
      const body = `{"sku":"PROTO","name":"x","attributes":${json}}`
      const answer = await expectNoEffect(() => call(createProduct, { body }))
      expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
    }
  })

  it('refuses a sku that is taken, and creates nothing', async () => {
    const { sku } = await newProduct()
    const answer = await expectNoEffect(() => send({ sku, name: 'x', initialStock: 5 }))
    expect(answer).toMatchObject({ status: 409, body: { code: 'sku_taken' } })
    expect((await send({ sku: sku.toLowerCase(), name: 'x' })).status).toBe(201)
  })

  it('gives the sku of a deleted product away again', async () => {
    const { id, sku } = await newProduct()
    await sql`update products set deleted_at = now() where id = ${id}`
    expect((await send({ sku, name: 'x' })).status).toBe(201)
  })

  it('creates once when twenty want the same sku at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => send({ sku: 'RACE', name: `${index}`, initialStock: 1 })),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ body }) => body.code === 'sku_taken')).toHaveLength(19)
    expect(await sql`select sku from products where sku = 'RACE'`).toHaveLength(1)
  })

  it.each([
    ['sku', { sku: '' }],
    ['sku', { sku: 'a b' }],
    ['sku', { sku: 'ü' }],
    ['sku', { sku: 'a\n' }],
    ['sku', { sku: 'x'.repeat(65) }],
    ['sku', { sku: 1 }],
    ['sku', { sku: null }],
    ['sku', { sku: undefined }],
    ['name', { name: '' }],
    ['name', { name: undefined }],
    ['name', { name: 'x'.repeat(201) }],
    ['name', { name: 'a\u0000' }],
    ['name', { name: 'a\nb' }],
    ['name', { name: 'a\u0085' }],
    ['name', { name: '\ud800' }],
    ['description', { description: 'x'.repeat(10_001) }],
    ['description', { description: 'a\u0000' }],
    ['price', { price: 5 }],
    ['price.currency', { price: { amount: 5 } }],
    ['price.amount', { price: { currency: 'EUR' } }],
    ['price.amount', { price: { amount: -1, currency: 'EUR' } }],
    ['price.amount', { price: { amount: 1.5, currency: 'EUR' } }],
    ['price.amount', { price: { amount: 2 ** 53, currency: 'EUR' } }],
    ['price.amount', { price: { amount: '5', currency: 'EUR' } }],
    ['price.currency', { price: { amount: 5, currency: 'eur' } }],
    ['price.currency', { price: { amount: 5, currency: 'EURO' } }],
    ['price.vat', { price: { amount: 5, currency: 'EUR', vat: 1 } }],
    ['attributes', { attributes: [] }],
    ['attributes', { attributes: null }],
    ['attributes', { attributes: Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`a${index}`, 1])) }],
    ['attributes', { attributes: { long: 'x'.repeat(16 * 1024) } }],
    ['attributes', { attributes: { a: 'nul \u0000' } }],
    ['attributes', { attributes: { a: [{ b: '\\\u0000' }] } }],
    ['attributes', { attributes: { '\u0000': 1 } }],
    ['attributes', { attributes: { a: '\ud800' } }],
    ['attributes', { attributes: { a: '\udc00\ud83d' } }],
    ['attributes.', { attributes: { '': 1 } }],
    [`attributes.${'x'.repeat(101)}`, { attributes: { ['x'.repeat(101)]: 1 } }],
    ['status', { status: 'deleted' }],
    ['status', { status: null }],
    ['lowStockThreshold', { lowStockThreshold: -1 }],
    ['lowStockThreshold', { lowStockThreshold: 0.5 }],
    ['lowStockThreshold', { lowStockThreshold: 1_000_000_001 }],
    ['initialStock', { initialStock: -1 }],
    ['initialStock', { initialStock: 1.5 }],
    ['initialStock', { initialStock: '5' }],
    ['initialStock', { initialStock: 1_000_000_001 }],
    ['id', { id: crypto.randomUUID() }],
    ['stock', { stock: { onHand: 5 } }],
  ])('refuses a wrong %s and names it: %j', async (path, members) => {
    const answer = await expectNoEffect(() => send({ sku: 'WRONG', name: 'x', ...members }))
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    expect(new Set(answer.body.errors.map((error: { path: string }) => error.path))).toEqual(new Set([path]))
  })

  it('names everything that is wrong at once', async () => {
    const { body } = await send({ name: '', price: { amount: -1, currency: 'x' }, colour: 'red', size: 1 })
    const paths = body.errors.map((error: { path: string }) => error.path)
    expect(paths.sort()).toEqual(['colour', 'name', 'price.amount', 'price.currency', 'size', 'sku'])
  })

  it('takes every member at its bound', async () => {
    const { status, body } = await send({
      sku: 'x'.repeat(64),
      name: 'n'.repeat(200),
      description: 'd'.repeat(10_000),
      price: { amount: Number.MAX_SAFE_INTEGER, currency: 'JPY' },
      lowStockThreshold: 1_000_000_000,
      initialStock: 1_000_000_000,
    })
    expect([status, body.price.amount, body.stock.onHand]).toEqual([201, Number.MAX_SAFE_INTEGER, 1_000_000_000])
  })

  it('receives stock for nobody without the scope for that, the repeat of an answered request included', async () => {
    const key = await newKey('products:write')
    const create = (body: object) => call(createProduct, { key, body: { name: 'Mug', ...body } })
    const refused = await expectNoEffect(() => create({ sku: 'STOCKED', initialStock: 1 }))
    expect(refused).toMatchObject({
      status: 403,
      body: { code: 'forbidden', detail: expect.stringContaining('stock:write') },
    })
    expect((await create({ sku: 'EMPTY', initialStock: 0 })).status).toBe(201)
    const both = await newKey('products:write', 'stock:write')
    const allowed = await call(createProduct, { key: both, body: { name: 'Mug', sku: 'STOCKED', initialStock: 1 } })
    expect(allowed.status).toBe(201)
  })
})
