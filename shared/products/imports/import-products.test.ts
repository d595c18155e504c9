import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemContext } from '#database'
import { getJob } from '#jobs'
import { expectConsistent, hold, newProduct, runQueued, sql, stockAt, uploadProducts } from '#testing'

type Format = 'ndjson' | 'csv'

beforeEach(async () => {
  await sql`truncate jobs, products, outbox, stock_movements, reservations, reservation_lines cascade`
})
afterEach(expectConsistent)

/** Imports a file, and returns the result of its job. */
async function imported(format: Format, body: string | Uint8Array) {
  const id = await uploadProducts(format, body)
  expect(await runQueued(id)).toEqual({ status: 200 })
  const job = await getJob(id, systemContext('function:test'))
  const { total } = job.result as { total: number }
  expect(job).toMatchObject({ state: 'succeeded', progress: { done: total, total } })
  return job.result as { total: number; created: number; updated: number; failed: number; errors: object[] }
}

const lines = (...rows: unknown[]) =>
  rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n')

/** The catalogue in the form in which an import writes it. */
const catalogue = async () => [
  ...(await sql`
    select sku, name, description, price_amount as amount, price_currency as currency, attributes, status,
           low_stock_threshold as threshold, product.version, on_hand as "onHand"
    from products as product join stock_levels as level on product_id = id and location = 'main'
    where deleted_at is null order by sku`),
]
const eventsOf = async (sku: string) =>
  [
    ...(await sql`
      select type, outbox.version from outbox join products on products.id = product_id where sku = ${sku} order by sequence`),
  ].map(({ type, version }) => `${type} ${version}`)

/** The rows that a product's creation has written besides the product, without values that only this product has. */
async function tracesOf(sku: string): Promise<string[]> {
  const rows = await sql`
    select to_jsonb(event) - array['sequence', 'id', 'occurred_at', 'traceparent', 'tracestate'] as trace
    from outbox as event join products on products.id = product_id where sku = ${sku}
    union all
    select to_jsonb(movement) - array['sequence', 'id', 'occurred_at', 'actor']
    from stock_movements as movement join products on products.id = product_id where sku = ${sku}`
  const times = /"(created|updated)At":"[^"]+"/g
  const ids = /[0-9a-f]{8}-[0-9a-f-]{27}/g
  return rows.map(({ trace }) =>
    JSON.stringify(trace).replaceAll(sku, 'SKU').replaceAll(ids, 'ID').replaceAll(times, ''),
  )
}

const plain = { description: null, amount: null, currency: null, attributes: {}, status: 'active', threshold: null }

describe('an import', () => {
  it('adds the products that are new, as create-product does, with the stock that they begin with', async () => {
    const full = {
      sku: 'FULL',
      name: 'Käßmug 語 🎉',
      description: 'One\n\ttwo',
      price: { amount: 1999, currency: 'EUR' },
      attributes: { colour: 'red', sizes: [1, 2.5, null, { deep: true }] },
      status: 'archived',
      lowStockThreshold: 5,
      initialStock: 12,
    }
    const { sku, name, description, attributes, status } = full
    expect(await imported('ndjson', lines(full, { sku: 'BARE', name: 'Bare' }))).toEqual({
      total: 2,
      created: 2,
      updated: 0,
      failed: 0,
      errors: [],
    })
    expect(await catalogue()).toEqual([
      { ...plain, sku: 'BARE', name: 'Bare', version: 1, onHand: 0 },
      {
        sku,
        name,
        description,
        amount: 1999,
        currency: 'EUR',
        attributes,
        status,
        threshold: 5,
        version: 1,
        onHand: 12,
      },
    ])
    expect(await eventsOf('FULL')).toEqual(['product.created 1', 'stock.adjusted 2'])
    expect(await eventsOf('BARE')).toEqual(['product.created 1'])
    // The same product, created by create-product, leaves the same ledger row and events.
    await newProduct({ ...full, sku: 'TWIN' })
    const [own, twins] = [await tracesOf('FULL'), await tracesOf('TWIN')]
    expect(own).toHaveLength(3)
    expect(own).toEqual(twins)
  })

  it('works for whoever sent the file', async () => {
    await imported('ndjson', lines({ sku: 'A', name: 'A', initialStock: 1 }))
    expect(await sql`select actor from stock_movements`).toEqual([
      { actor: 'api-key:00000000-0000-7000-8000-000000000000' },
    ])
  })

  it('changes the products that are there like a merge patch, and leaves their stock alone', async () => {
    const product = await newProduct({
      sku: 'A',
      name: 'Before',
      description: 'stays',
      price: { amount: 1, currency: 'EUR' },
      attributes: { colour: 'red', size: 1 },
      lowStockThreshold: 3,
      initialStock: 7,
    })
    await stockAt(product.id, 'second', 5)
    await hold([{ productId: product.id, quantity: 2 }])
    await sql`update products set status = 'archived'`
    const row = { sku: 'A', name: 'After', attributes: { size: 2 }, lowStockThreshold: null, initialStock: 99 }
    expect(await imported('ndjson', lines(row))).toMatchObject({ created: 0, updated: 1, failed: 0 })
    expect(await catalogue()).toEqual([
      {
        sku: 'A',
        name: 'After',
        description: 'stays',
        amount: 1,
        currency: 'EUR',
        attributes: { colour: 'red', size: 2 },
        status: 'archived',
        threshold: null,
        version: 2,
        onHand: 7,
      },
    ])
    expect((await eventsOf('A')).at(-1)).toBe('product.updated 5')
  })

  it('counts a row that changes nothing, and leaves no trace of it', async () => {
    const text = lines({
      sku: 'A',
      name: 'A',
      attributes: { a: 1, b: { c: [2] } },
      price: { amount: 1, currency: 'EUR' },
    })
    await imported('ndjson', text)
    const before = [await catalogue(), await eventsOf('A')]
    expect(await imported('ndjson', text)).toMatchObject({ created: 0, updated: 1, failed: 0 })
    expect([await catalogue(), await eventsOf('A')]).toEqual(before)
  })

  it('takes the rows of one sku one after the other, near and far: the first adds the product, the last has its way', async () => {
    const filler = Array.from({ length: 1_200 }, (_, index) => ({ sku: `FILL-${index}`, name: 'x' }))
    const result = await imported(
      'ndjson',
      lines(
        { sku: 'A', name: 'one', description: 'kept', initialStock: 3 },
        { sku: 'A', name: 'two', initialStock: 4 },
        ...filler,
        { sku: 'A', name: 'three', initialStock: 5 },
        { sku: 'A', name: 'four' },
      ),
    )
    expect(result).toMatchObject({ total: 1_204, created: 1_201, updated: 3, failed: 0 })
    const [product] = await catalogue()
    expect(product).toMatchObject({ sku: 'A', name: 'four', description: 'kept', onHand: 3 })
  })

  it('adds a product anew whose sku was that of a deleted one', async () => {
    const { id } = await newProduct({ sku: 'A' })
    await sql`update products set deleted_at = now() where id = ${id}`
    expect(await imported('ndjson', lines({ sku: 'A', name: 'again' }))).toMatchObject({ created: 1, updated: 0 })
    expect(await catalogue()).toMatchObject([{ sku: 'A', name: 'again' }])
  })

  it('succeeds with nothing to do', async () => {
    const nothing = { total: 0, created: 0, updated: 0, failed: 0, errors: [] }
    expect(await imported('ndjson', '')).toEqual(nothing)
    expect(await imported('ndjson', '\n \r\n\n')).toEqual(nothing)
    expect(await imported('csv', 'sku,name')).toEqual(nothing)
  })

  it('does not keep the file any longer than it is needed', async () => {
    await imported('ndjson', lines({ sku: 'A', name: 'A' }))
    expect(await sql`select 1 from job_inputs`).toHaveLength(0)
    expect(await sql`select checkpoint, payload from jobs`).toEqual([
      { checkpoint: null, payload: { format: 'ndjson' } },
    ])
  })
})

describe('a bad row', () => {
  it('is reported by the line it begins at, for what is wrong with it, and keeps nothing else from being imported', async () => {
    const tooLong = JSON.stringify({ sku: 'LONG', name: 'x'.repeat(300_000) })
    const { errors, ...counts } = await imported(
      'ndjson',
      [
        '{"sku":"A","name":"A"}',
        '',
        '{"sku":"B"}',
        '   ',
        '{"sku":"C","name":"C","colour":"red"}',
        '{"sku":"D","name":',
        '[1]',
        '{"sku":"E","name":"E","__proto__":{}}',
        `{"sku":"F","name":"F","attributes":{"a":${'['.repeat(40)}${']'.repeat(40)}}}`,
        tooLong,
        '{"sku":"G g","name":"","initialStock":-1}',
        '{"sku":"H","name":"H","price":{"amount":1}}\r',
        '{"sku":"Z","name":"Z"}',
      ].join('\n'),
    )
    expect(counts).toEqual({ total: 11, created: 2, updated: 0, failed: 9 })
    const invalid = 'validation_failed'
    expect(errors).toEqual([
      { line: 3, code: invalid, message: 'name: Invalid input: expected string, received undefined' },
      { line: 5, code: invalid, message: 'colour: is not a known member' },
      { line: 6, code: 'malformed_json', message: expect.stringMatching(/^This is not JSON: .+\.$/) },
      { line: 7, code: invalid, message: 'Invalid input: expected object, received array' },
      { line: 8, code: invalid, message: '__proto__: is not a known member' },
      { line: 9, code: invalid, message: 'is nested more than 32 levels deep' },
      { line: 10, code: 'too_large', message: 'The row has more than 262144 characters.' },
      {
        line: 11,
        code: invalid,
        message: expect.stringMatching(/^sku: must be .+; name: .+; initialStock: / as RegExp),
      },
      { line: 12, code: invalid, message: 'price.currency: Invalid input: expected string, received undefined' },
    ])
    expect((await catalogue()).map(({ sku }) => sku)).toEqual(['A', 'Z'])
  })

  it('in CSV is told of in the words of the file, and one that is too large is no more than that', async () => {
    const row = 'A,A,,,,'
    const { errors, ...counts } = await imported(
      'csv',
      [
        'SKU,Name,PriceAmount,priceCurrency,initialStock,attributes.size',
        row,
        `LONG,${'x'.repeat(300_000)},,,,`,
        `QUOTED,"${'x\r\n'.repeat(150_000)}",,,,`,
        'B,,,,,',
        ',B,,,,',
        'C,C,9007199254740990.5,EUR,1e3,',
        'D,D,5,,,',
        'E,E,-5,euro,,',
        'F,5" pipe,,,,',
        'G,G',
        'Z,Z,,,,',
      ].join('\r\n'),
    )
    expect(counts).toEqual({ total: 11, created: 2, updated: 0, failed: 9 })
    const behind = 150_000
    const invalid = 'validation_failed'
    expect(errors).toEqual([
      { line: 3, code: 'too_large', message: 'The row has more than 262144 characters.' },
      { line: 4, code: 'too_large', message: 'The row has more than 262144 characters.' },
      { line: 5 + behind, code: invalid, message: 'Name: is missing' },
      { line: 6 + behind, code: invalid, message: 'SKU: is missing' },
      {
        line: 7 + behind,
        code: invalid,
        message:
          'PriceAmount: must be a whole number, not "9007199254740990.5"; initialStock: must be a whole number, not "1e3"',
      },
      { line: 8 + behind, code: invalid, message: 'priceCurrency: is missing' },
      {
        line: 9 + behind,
        code: invalid,
        message: expect.stringMatching(
          /^PriceAmount: Too small.+; priceCurrency: must be an ISO 4217 code, such as EUR$/,
        ),
      },
      { line: 10 + behind, code: invalid, message: expect.stringMatching(/^has a quote in the middle of a field/) },
      { line: 11 + behind, code: invalid, message: 'has 2 fields, and the first line has 6' },
    ])
    expect((await catalogue()).map(({ sku }) => sku)).toEqual(['A', 'Z'])
  })

  it('is one of nested attributes, or of one large one, refused by its size, before it is looked at', async () => {
    const nested = `[${Array(60_000).fill('[[]]').join()}]`.slice(0, 250_000 - 1)
    const row = (sku: string) => `{"sku":"${sku}","name":"A","attributes":{"a":${nested}}}`
    const inNdjson = await imported('ndjson', [row('A'), row('B'), '{"sku":"Z","name":"Z"}'].join('\n'))
    expect(inNdjson).toMatchObject({ created: 1, failed: 2 })
    expect(inNdjson.errors).toEqual(
      [1, 2].map((line) => ({
        line,
        code: 'validation_failed',
        message: 'attributes: has more than 10000 elements and members',
      })),
    )
    const inCsv = await imported('csv', `sku,name,attributes.a\nC,C,"${nested}"\nY,Y,x\n`)
    expect(inCsv).toMatchObject({ created: 1, failed: 1 })
    expect(inCsv.errors).toEqual([
      { line: 2, code: 'validation_failed', message: 'attributes: must not be larger than 16384 bytes as JSON' },
    ])
  })

  it('is one that leaves nonsense of the product that is there', async () => {
    await newProduct({ sku: 'A', attributes: Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`a${i}`, i])) })
    const attributes = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`b${i}`, i]))
    const rows = lines({ sku: 'A', name: 'changed', attributes }, { sku: 'A', name: 'then' })
    expect(await imported('ndjson', rows)).toEqual({
      total: 2,
      created: 0,
      updated: 1,
      failed: 1,
      errors: [{ line: 1, code: 'validation_failed', message: 'attributes: must not have more than 100 members' }],
    })
    expect(await catalogue()).toMatchObject([{ sku: 'A', name: 'then', version: 2 }])
  })

  it('can’t break the report by what it says', async () => {
    const name = `\u0000\ud800${'x'.repeat(2_000)}`
    const { errors } = await imported('ndjson', lines({ sku: 'A', name: 'A', [name]: 1 }))
    expect(errors).toEqual([{ line: 1, code: 'validation_failed', message: `\ufffd\ufffd${'x'.repeat(498)}` }])
  })

  it('is counted past the thousandth, and not listed', async () => {
    const rows = Array.from({ length: 1_700 }, (_, index) => ({ sku: `S-${index}`, name: index % 2 ? '' : 'fine' }))
    const result = await imported('ndjson', lines(...rows, ...rows))
    expect(result).toMatchObject({ total: 3_400, created: 850, updated: 850, failed: 1_700 })
    expect(result.errors).toHaveLength(1_000)
    expect(result.errors.at(-1)).toMatchObject({ line: 2_000 })
  })
})
