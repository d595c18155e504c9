import { afterAll, describe, expect, it } from 'vitest'
import { type CallOptions, call, expectConsistent, expectNoEffect, hold, newProduct, sql } from '#testing'
import updateProduct from './index.ts'

const patch = (productId: string, body: unknown, headers: Record<string, string> = {}) =>
  call(updateProduct, { params: { productId }, body, headers } as CallOptions)
const eventsOf = async (productId: string) =>
  (await sql`select type from outbox where product_id = ${productId} order by sequence`).map(({ type }) => type)

afterAll(expectConsistent)

const full = {
  name: 'Mug',
  description: 'A mug.',
  price: { amount: 500, currency: 'EUR' },
  attributes: { colour: 'red', size: { height: 10, width: 8 }, tags: ['a', 'b'] },
  lowStockThreshold: 3,
  initialStock: 7,
}

describe('update-product', () => {
  it('changes what the patch names, and nothing else', async () => {
    const product = await newProduct(full)
    const { status, body, headers } = await patch(product.id, { name: 'Cup', status: 'archived' })
    expect(status).toBe(200)
    expect(body).toEqual({ ...product, name: 'Cup', status: 'archived', version: 2, updatedAt: body.updatedAt })
    expect(body.updatedAt >= product.updatedAt).toBe(true)
    expect(headers.get('etag')).toBe('"2.3"')
    expect(headers.get('consistency-token')).toBeTruthy()
    expect(await eventsOf(product.id)).toEqual(['product.created', 'stock.adjusted', 'product.updated'])
  })

  it.each([
    ['replaces a value', { attributes: { colour: 'blue' } }, { colour: 'blue' }],
    ['adds a member', { attributes: { weight: 1 } }, { weight: 1 }],
    ['takes a member away', { attributes: { colour: null } }, { colour: undefined }],
    ['takes no member away that is not there', { attributes: { none: null, x: 1 } }, { x: 1 }],
    ['merges objects, deep', { attributes: { size: { width: null, depth: 5 } } }, { size: { height: 10, depth: 5 } }],
    ['replaces lists whole', { attributes: { tags: ['c'] } }, { tags: ['c'] }],
    ['replaces an object by a value', { attributes: { size: 'L' } }, { size: 'L' }],
    [
      'replaces a value by an object',
      { attributes: { colour: { hex: '#f00', none: null } } },
      { colour: { hex: '#f00' } },
    ],
  ])('as a merge patch %s', async (_, body, changed) => {
    const product = await newProduct(full)
    const answer = await patch(product.id, body)
    const expected = JSON.parse(JSON.stringify({ ...full.attributes, ...changed }))
    expect([answer.status, answer.body.attributes]).toEqual([200, expected])
  })

  it('takes away what is null: description, price, threshold, all attributes', async () => {
    const { id } = await newProduct(full)
    const { body } = await patch(id, { description: null, price: null, lowStockThreshold: null, attributes: null })
    expect(body).toMatchObject({ description: null, price: null, lowStockThreshold: null, attributes: {} })
  })

  it('merges into the price, and refuses half a price', async () => {
    const { id } = await newProduct(full)
    expect((await patch(id, { price: { amount: 700 } })).body.price).toEqual({ amount: 700, currency: 'EUR' })
    await patch(id, { price: null })
    const half = await expectNoEffect(() => patch(id, { price: { amount: 1 } }))
    expect([half.status, half.body.errors[0].path]).toEqual([422, 'price.currency'])
    expect((await patch(id, { price: { amount: 1, currency: 'USD' } })).body.price.currency).toBe('USD')
  })

  it.each([
    {},
    { name: 'Mug' },
    { attributes: {} },
    { attributes: { none: null } },
    { attributes: { size: { width: 8 } } },
    { price: { currency: 'EUR' } },
    { price: {} },
  ])('that changes nothing leaves the version and tells nobody: %j', async (body) => {
    const product = await newProduct(full)
    const answer = await expectNoEffect(() => patch(product.id, body))
    expect([answer.status, answer.headers.get('etag'), answer.body]).toEqual([200, '"1.2"', product])
  })

  it('takes both media types, and no body for no change', async () => {
    const { id } = await newProduct()
    for (const type of [
      'application/merge-patch+json',
      'application/json',
      'application/merge-patch+json; charset=utf-8',
    ])
      expect((await patch(id, { name: type }, { 'content-type': type })).body.name).toBe(type)
    expect((await call(updateProduct, { params: { productId: id } })).status).toBe(200)
    expect((await patch(id, '[]', { 'content-type': 'application/json-patch+json' })).status).toBe(415)
  })

  it.each(['"1.2"', '"1"', '"1.999"', '*', '"9.9", "1.0"'])(
    'goes ahead if If-Match names its version: %s',
    async (tag) => {
      const { id } = await newProduct(full)
      expect((await patch(id, { name: 'Cup' }, { 'if-match': tag })).status).toBe(200)
    },
  )

  it.each(['"2.2"', '"0"', 'W/"1.2"', '1.2', '""', '"11.2"', '"1.2.3"', 'junk'])(
    'is refused if If-Match names another: %s',
    async (tag) => {
      const { id } = await newProduct(full)
      const answer = await expectNoEffect(() => patch(id, { name: 'Cup' }, { 'if-match': tag }))
      expect(answer).toMatchObject({ status: 412, body: { code: 'version_mismatch' } })
    },
  )

  it.each(['*', '"1.2"', 'W/"1.2"', '"1.9"', '"9.9", "1.2"'])(
    'is refused if If-None-Match names its version: %s',
    async (tag) => {
      const { id } = await newProduct(full)
      const answer = await expectNoEffect(() => patch(id, { name: 'Cup' }, { 'if-none-match': tag }))
      expect(answer).toMatchObject({ status: 412, body: { code: 'version_mismatch' } })
    },
  )

  it.each([
    [{ 'if-none-match': '"2.2", W/"11.2"' }, 200],
    [{ 'if-match': '"1.2"', 'if-none-match': '"2.2"' }, 200],
    [{ 'if-match': '"1.2"', 'if-none-match': '*' }, 412],
    [{ 'if-match': '"2.2"', 'if-none-match': '"2.2"' }, 412],
    // There is no date to compare this one with: RFC 9110, 13.1.4.
    [{ 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 200],
  ])('goes by all of its preconditions: %j', async (headers, status) => {
    const { id } = await newProduct(full)
    expect((await patch(id, { name: 'Cup' }, headers as Record<string, string>)).status).toBe(status)
  })

  it('is not spoilt by a reservation, but by another edit', async () => {
    const { id } = await newProduct(full)
    await hold([{ productId: id, quantity: 1 }])
    const first = await patch(id, { name: 'Cup' }, { 'if-match': '"1.2"' })
    expect([first.status, first.headers.get('etag')]).toEqual([200, '"2.4"'])
    expect((await patch(id, { name: 'Pot' }, { 'if-match': '"1.2"' })).status).toBe(412)
  })

  it('lets one of twenty win that know the same version', async () => {
    const { id } = await newProduct(full)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => patch(id, { name: `n${index}` }, { 'if-match': '"1.2"' })),
    )
    const statuses = answers.map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    expect(statuses.filter((status) => status === 412)).toHaveLength(19)
  })

  it('loses no edit of different members made at once', async () => {
    const { id } = await newProduct({ attributes: {} })
    await Promise.all(Array.from({ length: 20 }, (_, index) => patch(id, { attributes: { [`a${index}`]: index } })))
    const { body } = await patch(id, {})
    expect([Object.keys(body.attributes).length, body.version]).toEqual([20, 21])
  })

  it('gives a product another sku, unless that is taken', async () => {
    const [{ id }, other] = [await newProduct(full), await newProduct()]
    const taken = await expectNoEffect(() => patch(id, { sku: other.sku, name: 'Cup' }))
    expect(taken).toMatchObject({ status: 409, body: { code: 'sku_taken' } })
    expect((await patch(id, { sku: 'FREE-SKU' })).body.sku).toBe('FREE-SKU')
  })

  it('answers 404 for a product that is not there, before it looks at versions', async () => {
    const { id } = await newProduct()
    await sql`update products set deleted_at = now() where id = ${id}`
    for (const missing of [id, crypto.randomUUID()]) {
      const answer = await expectNoEffect(() => patch(missing, { name: 'x' }, { 'if-match': '"9"' }))
      expect(answer).toMatchObject({ status: 404, body: { code: 'product_not_found' } })
    }
  })

  it.each([
    ['sku', { sku: null }],
    ['sku', { sku: 'a b' }],
    ['name', { name: null }],
    ['name', { name: '' }],
    ['name', { name: 'a\u0000' }],
    ['status', { status: null }],
    ['status', { status: 'gone' }],
    ['description', { description: 'x'.repeat(10_001) }],
    ['price.amount', { price: { amount: -1 } }],
    ['price.currency', { price: { currency: null } }],
    ['price.vat', { price: { vat: 1 } }],
    ['attributes', { attributes: ['a'] }],
    ['attributes', { attributes: { a: 'nul \u0000' } }],
    ['attributes', { attributes: { long: 'x'.repeat(16 * 1024) } }],
    ['attributes', { attributes: Object.fromEntries(Array.from({ length: 99 }, (_, index) => [`a${index}`, 1])) }],
    ['lowStockThreshold', { lowStockThreshold: -1 }],
    ['initialStock', { initialStock: 5 }],
    ['stock', { stock: { onHand: 5 } }],
    ['version', { version: 7 }],
    ['id', { id: crypto.randomUUID() }],
  ])('refuses a wrong %s and changes nothing: %j', async (path, body) => {
    const { id } = await newProduct(full)
    const answer = await expectNoEffect(() => patch(id, { description: 'changed', ...body }))
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    expect(answer.body.errors.map((error: { path: string }) => error.path)).toEqual([path])
  })

  it('refuses an attribute named __proto__ rather than lose it', async () => {
    const { id } = await newProduct()
    const answer = await expectNoEffect(() => patch(id, '{"attributes":{"__proto__":{"a":1},"b":2}}'))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'attributes.__proto__' }] } })
  })
})
