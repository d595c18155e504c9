import { beforeEach, describe, expect, it } from 'vitest'
import { call, expectPaging, newProduct, sql, stockAt, walk } from '#testing'
import listProducts from './index.ts'

const list = async (query: Record<string, string | number> = {}) =>
  (await call(listProducts, { query })).body.items.map((item: { sku: string }) => item.sku)
const skusOf = (items: Array<{ sku: string }>) => items.map(({ sku }) => sku)

beforeEach(async () => {
  await sql`truncate stock_levels, products cascade`
})

describe('list-products', () => {
  it('gives products as get-product does, oldest first, without the deleted ones', async () => {
    const first = await newProduct({ initialStock: 3 })
    const gone = await newProduct()
    const second = await newProduct()
    await stockAt(first.id, 'second', 4)
    await sql`update products set deleted_at = now() where id = ${gone.id}`
    const { status, body } = await call(listProducts)
    expect(status).toBe(200)
    expect(body).toEqual({
      items: [{ ...first, stock: { onHand: 7, reserved: 0, available: 7 } }, second],
      nextCursor: null,
    })
  })

  it('gives an empty list where there is nothing', async () => {
    expect((await call(listProducts)).body).toEqual({ items: [], nextCursor: null })
  })

  it('is read in pages', async () => {
    await newProduct()
    await newProduct()
    for (const sort of ['createdAt', '-createdAt', 'sku', 'name']) await expectPaging(listProducts, { query: { sort } })
  })

  it('refuses a cursor in another order than it was made for', async () => {
    await newProduct()
    await newProduct()
    const { body } = await call(listProducts, { query: { limit: 1, sort: 'sku' } })
    const answer = await call(listProducts, { query: { limit: 1, sort: 'name', cursor: body.nextCursor } })
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'cursor' }] } })
  })

  it.each([
    ['createdAt', ['b', 'B', 'a', 'C']],
    ['-createdAt', ['C', 'a', 'B', 'b']],
    ['sku', ['B', 'C', 'a', 'b']],
    ['name', ['C', 'b', 'B', 'a']],
  ])('sorts by %s, page after page, with the id where that is equal', async (sort, expected) => {
    await newProduct({ sku: 'b', name: 'same' })
    await newProduct({ sku: 'B', name: 'same' })
    await newProduct({ sku: 'a', name: 'ä' })
    await newProduct({ sku: 'C', name: 'Z' })
    expect(await list({ sort })).toEqual(expected)
    expect(skusOf(await walk(listProducts, { query: { sort } }, 1))).toEqual(expected)
  })

  it.each(['createdAt', '-createdAt', 'sku', 'name'])(
    'by %s, gives each product that was there at the start exactly once, while others come and go',
    async (sort) => {
      for (let index = 0; index < 25; index++) await newProduct({ sku: `P-${index}`, name: `${index % 3}` })
      // Sets equal times, as for products that were created in one transaction.
      await sql`update products set created_at = date_trunc('second', created_at)`
      let extra = 0
      const items = await walk(listProducts, { query: { sort } }, 4, async () => {
        extra++
        await newProduct({ sku: `N-${extra}`, name: `${extra % 3}` })
        await sql`delete from stock_levels using products where product_id = id and sku like 'N-%'`
        await sql`delete from products where sku like 'N-%' and ${extra % 2 === 0}`
      })
      const seen = skusOf(items).filter((sku) => sku.startsWith('P-'))
      expect(seen).toHaveLength(25)
      expect(new Set(seen).size).toBe(25)
    },
  )

  it('pages through names as long and strange as they may be', async () => {
    for (const unit of ['語', '"', '\\', '🎉', '\u2028']) {
      for (const end of ['1', '2']) await newProduct({ name: unit.repeat(199) + end })
    }
    expect(await walk(listProducts, { query: { sort: 'name' } }, 1)).toHaveLength(10)
  })

  it('gives pages of 1 MiB at most, each product once', async () => {
    const attributes = { text: 'x'.repeat(16_000) }
    for (let index = 0; index < 50; index++) await newProduct({ description: '語'.repeat(10_000), attributes })
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const query = { limit: 200, ...(cursor !== null && { cursor }) }
      const { body } = await call(listProducts, { query })
      expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThanOrEqual(1024 * 1024)
      seen.push(...skusOf(body.items))
      cursor = body.nextCursor
    } while (cursor !== null)
    expect(new Set(seen).size).toBe(50)
    expect(seen).toHaveLength(50)
  })

  it('finds a part of the name or the sku, in any case', async () => {
    await newProduct({ sku: 'ABC-1', name: 'Blue mug' })
    await newProduct({ sku: 'XYZ-2', name: 'abc plate' })
    await newProduct({ sku: 'XYZ-3', name: 'Plate' })
    expect(await list({ search: 'aBc' })).toEqual(['ABC-1', 'XYZ-2'])
    expect(await list({ search: 'PLATE' })).toEqual(['XYZ-2', 'XYZ-3'])
    expect(await list({ search: 'lue m' })).toEqual(['ABC-1'])
    expect(await list({ search: 'nothing' })).toEqual([])
    expect(await list({ search: '' })).toHaveLength(3)
  })

  it.each([
    ['ÄPFEL', 'äpfel'],
    ['ΣΟΦΙΑ', 'σοφια'],
    ['ДОМ', 'дом'],
    // At the end of a word, the small sigma is another letter than within the word; the capital letters are the same.
    ['ΚΑΦΈΣ', 'καφές'],
    ['STRASSE', 'straße'],
    ['STRAẞE', 'strasse'],
    ['CAF\u00c9', 'cafe\u0301'],
    ['CAFE\u0301', 'caf\u00e9'],
    ['한글날', '\u1112\u1161\u11ab\u1100\u1173\u11af\u1102\u1161\u11af'],
    ['ŒUVRE', 'œuvre'],
    ['EFFICIENT', 'eﬃcient'],
    ['İSTANBUL', 'istanbul'],
    ['ISPARTA', 'ısparta'],
    ['ΐABC', 'Ϊ́abc'],
    ['ᾳδης', 'ΑΙΔΗΣ'],
    ['ᲓᲘᲓᲘ', 'დიდი'],
    ['ＡＢＣ', 'abc'],
    ['5 KΩ', '5 kω'],
  ])('finds letters beyond ASCII in any case and any normal form: %s, %s', async (upper, lower) => {
    await newProduct({ sku: 'upper', name: `x ${upper} y` })
    await newProduct({ sku: 'lower', name: `x ${lower} y` })
    expect(await list({ search: upper })).toEqual(['upper', 'lower'])
    expect(await list({ search: lower })).toEqual(['upper', 'lower'])
  })

  it.each(['%', '_', '\\', '%%', '\\%', '100%', 'a_b', "'", '"', '*', '.', '\\\\'])(
    'takes %j in a search for itself',
    async (search) => {
      await newProduct({ sku: 'hit', name: `${search}b a${search}b` })
      await newProduct({ sku: 'miss', name: 'axxb 100 aXb' })
      expect(await list({ search })).toEqual(['hit'])
      expect(await list({ search: `a${search}b` })).toEqual(['hit'])
    },
  )

  it.each([
    ['one character', 'b', ['B-1', 'x-2']],
    ['two characters', 'bL', ['x-2']],
    ['two that fold from one', 'ß', ['SS-4']],
    ['two pairs of surrogates', '🧢🧤', ['x-3']],
  ])('looks at the start of name and sku alone for %s', async (_, search, expected) => {
    await newProduct({ sku: 'B-1', name: 'Cup, blue' })
    await newProduct({ sku: 'x-2', name: 'Blue cup' })
    await newProduct({ sku: 'x-3', name: '🧢🧤 b' })
    await newProduct({ sku: 'SS-4', name: 'Tasse' })
    expect(await list({ search })).toEqual(expected)
  })

  it('never takes the end of a sku and the start of a name for one text', async () => {
    await newProduct({ sku: 'abc', name: 'def' })
    for (const search of ['bcde', 'c\n\nd', '\n\nabc', '\n']) expect(await list({ search })).toEqual([])
  })

  it('filters by sku and status, all filters together', async () => {
    await newProduct({ sku: 'one', name: 'x', status: 'archived' })
    await newProduct({ sku: 'two', name: 'x' })
    await newProduct({ sku: 'ONE', name: 'y' })
    expect(await list({ sku: 'one' })).toEqual(['one'])
    expect(await list({ sku: 'on' })).toEqual([])
    expect(await list({ status: 'archived' })).toEqual(['one'])
    expect(await list({ status: 'active', search: 'X' })).toEqual(['two'])
    expect(await list({ status: 'archived', sku: 'two' })).toEqual([])
  })

  it.each([
    ['sort', { sort: 'price' }],
    ['sort', { sort: '' }],
    ['status', { status: 'gone' }],
    ['search', { search: 'x'.repeat(201) }],
    ['sku', { sku: 'x'.repeat(65) }],
  ])('refuses a wrong %s: %j', async (path, query) => {
    const { status, body } = await call(listProducts, { query })
    expect([status, body.errors[0].path]).toEqual([422, path])
  })

  it('refuses what no text of the database can be', async () => {
    const { status, body } = await call(listProducts, { query: { search: 'a\u0000b' } })
    expect([status, body.code, body.errors.length]).toEqual([422, 'validation_failed', 1])
  })
})
