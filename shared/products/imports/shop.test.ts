import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import type { ServiceError } from '#errors'
import type { ImportRow } from './file.ts'
import { openFile } from './open-file.ts'
import type { ImportPayload } from './payload.ts'

type ShopName = NonNullable<ImportPayload['shop']>['name']

async function opened(name: ShopName, file: string | Uint8Array, currency = 'EUR') {
  async function* blocks() {
    yield Buffer.from(file)
  }
  return openFile({ format: 'csv', shop: { name, currency } }, blocks())
}

/** Each row's content or its issues, by its line, and the number of ignored columns. */
async function rowsOf(name: ShopName, file: string | Uint8Array, currency?: string) {
  const { rows, inItsWords, ignoredColumns } = await opened(name, file, currency)
  const all: ImportRow[] = []
  for await (const row of rows) all.push(row)
  const read: Array<[number, unknown]> = []
  // Like an import: in batches, when later rows have already been seen.
  for (const row of all) {
    try {
      read.push([row.line, row.read()])
    } catch (error) {
      const { issues = [] } = error as ServiceError
      read.push([row.line, issues.map(inItsWords).map(({ path, message }) => `${path}: ${message}`)])
    }
  }
  return { rows: read, ignoredColumns }
}

const fixture = (name: ShopName) => readFile(new URL(`fixtures/${name}.csv`, import.meta.url))
const eur = (amount: number) => ({ amount, currency: 'EUR' })

describe('an export of Shopify', () => {
  it('has a product for each variant, named by its options, with what the first row says of all of them', async () => {
    const { rows, ignoredColumns } = await rowsOf('shopify', await fixture('shopify'))
    const apron = {
      description: '<p>Washed linen, "heavy".\n</p>',
      status: 'active',
      price: eur(4990),
    }
    const attributes = { handle: 'linen-apron', vendor: 'Oak & Thread', type: 'Aprons', Colour: 'Sand' }
    expect(rows).toEqual([
      [
        2,
        {
          ...apron,
          sku: 'APRON-SAND-M',
          name: 'Linen apron - Sand - M',
          initialStock: 12,
          attributes: { ...attributes, Size: 'M', barcode: '4006381333931' },
        },
      ],
      [
        4,
        {
          ...apron,
          sku: 'APRON-SAND-L',
          name: 'Linen apron - Sand - L',
          initialStock: 0,
          attributes: { ...attributes, Size: 'L' },
        },
      ],
      // Without its sku, which the schema requires.
      [
        5,
        {
          ...apron,
          name: 'Linen apron - Slate - M',
          initialStock: 3,
          attributes: { ...attributes, Colour: 'Slate', Size: 'M' },
        },
      ],
      [
        7,
        {
          sku: 'TOWEL',
          name: 'Tea towel',
          status: 'archived',
          price: eur(900),
          initialStock: 0,
          attributes: { handle: 'tea-towel', vendor: 'Oak & Thread' },
        },
      ],
      [8, ['Variant Price: must not have more than the 2 decimal places of EUR, as "12.345" has']],
      [
        9,
        {
          sku: 'TRIVET-2',
          name: 'Second trivet',
          status: 'archived',
          price: eur(1200),
          initialStock: 7,
          attributes: { handle: 'trivet-2' },
        },
      ],
    ])
    expect(ignoredColumns).toBe(14)
  })

  it('is read by the names that its columns have since 2025, too, and told of in its words', async () => {
    const file =
      'Title,URL handle,Description,Status,SKU,Option1 name,Option1 value,Price,Inventory quantity\nCup,cup,<b>x</b>,Unlisted,CUP,Colour,Red,1.5,4'
    expect(await rowsOf('shopify', file)).toEqual({
      rows: [
        [
          2,
          {
            sku: 'CUP',
            name: 'Cup - Red',
            description: '<b>x</b>',
            status: 'active',
            price: eur(150),
            initialStock: 4,
            attributes: { handle: 'cup', Colour: 'Red' },
          },
        ],
      ],
      ignoredColumns: 0,
    })
    const { inItsWords } = await opened('shopify', file)
    const told = (path: string) => inItsWords({ path, message: 'x' }).path
    expect(['sku', 'name', 'price.amount', 'initialStock'].map(told)).toEqual([
      'SKU',
      'Title',
      'Price',
      'Inventory quantity',
    ])
  })

  it('does not take the variants of a product whose first row is unfit for another’s', async () => {
    const first = `cup,"${'x'.repeat(300_000)}",CUP-1,1`
    const { rows } = await rowsOf(
      'shopify',
      `Handle,Title,Variant SKU,Variant Price\nmug,Mug,MUG,1\n${first}\ncup,,CUP-2,1\n`,
    )
    expect(rows[2]?.[1]).toEqual({ sku: 'CUP-2', price: eur(100), attributes: { handle: 'cup' } })
  })
})

describe('an export of WooCommerce', () => {
  it('has a product for each row that is sold, and what guards it from spreadsheets is taken away', async () => {
    const { rows, ignoredColumns } = await rowsOf('woocommerce', await fixture('woocommerce'))
    const plate = { Glaze: 'White', Size: '20 cm' }
    expect(rows).toEqual([
      [
        3,
        {
          sku: 'CUP-BLUE',
          name: 'Cup - Blue',
          status: 'active',
          price: eur(1850),
          initialStock: 8,
          lowStockThreshold: 2,
          attributes: { barcode: '4006381333948', parent: 'CUP', Glaze: 'Blue' },
        },
      ],
      [4, ['Stock: is counted with its parent’s: give it a stock of its own']],
      [5, { sku: 'VOUCHER', name: 'Voucher', description: '-for you, C:\\new', status: 'active', price: eur(2500) }],
      [
        7,
        {
          sku: 'JUG',
          name: 'Jug',
          description: 'Short, then.',
          status: 'archived',
          price: eur(4400),
          initialStock: 0,
        },
      ],
      [8, ['Regular price: must be a decimal number such as 19.99, not "1,200.00"']],
      [
        9,
        {
          sku: 'PLATE',
          name: 'Plate',
          description: 'Short.',
          status: 'archived',
          price: eur(120000),
          initialStock: 3,
          attributes: plate,
        },
      ],
    ])
    expect(ignoredColumns).toBe(14)
  })

  it('has line breaks that are written as such', async () => {
    const { rows } = await rowsOf('woocommerce', 'SKU,Name,Description\nA,A,"one\\ntwo \\\\n three"')
    expect(rows).toEqual([[2, { sku: 'A', name: 'A', description: 'one\ntwo \\n three' }]])
  })
})

describe('a price', () => {
  it.each([
    ['19.99', 'EUR', 1999],
    ['19.9', 'EUR', 1990],
    ['19', 'EUR', 1900],
    ['19.', 'EUR', 1900],
    ['0.07', 'EUR', 7],
    ['19.9900', 'EUR', 1999],
    ['1000', 'JPY', 1000],
    ['1000.00', 'JPY', 1000],
    ['1.234', 'KWD', 1234],
    ['1.5', 'KWD', 1500],
    ['1.2345', 'CLF', 12345],
    ['1990.50', 'HUF', 199050],
    ['1.005', 'IQD', 1005],
    ['90071992547409.91', 'EUR', Number.MAX_SAFE_INTEGER],
  ])('of %s in %s is %i', async (price, currency, amount) => {
    const { rows } = await rowsOf('woocommerce', `SKU,Name,Regular price\nA,A,${price}`, currency)
    expect(rows).toEqual([[2, { sku: 'A', name: 'A', price: { amount, currency } }]])
  })

  it.each([
    ['19.999', 'EUR'],
    ['1000.5', 'JPY'],
    ['1.2345', 'KWD'],
    ['-1', 'EUR'],
    ['"19,99"', 'EUR'],
    ['1e3', 'EUR'],
    ['€ 5', 'EUR'],
    ['.5', 'EUR'],
    ['90071992547409.92', 'EUR'],
  ])('of %s in %s is refused', async (price, currency) => {
    const { rows } = await rowsOf('woocommerce', `SKU,Name,Regular price\nA,A,${price}`, currency)
    expect(rows).toEqual([[2, [expect.stringMatching(/^Regular price: must /)]]])
  })
})

it.each([
  ['shopify', 'Handle,Title\na,A', 'is no export of Shopify: it lacks "Variant SKU".'],
  [
    'shopify',
    'Artikel,Name\nA,B',
    'it lacks "Title", "Variant SKU". Such an export has English names for its columns. Found were "Artikel", "Name".',
  ],
  ['woocommerce', 'Artikelnummer,Name\nA,B', 'is no export of WooCommerce: it lacks "SKU".'],
  ['shopify', 'Title,Variant SKU,SKU\na,A,A', 'has twice the column "SKU"'],
] as const)('a file that is no export of %s is unfit: %s', async (name, file, message) => {
  await expect(opened(name, file)).rejects.toMatchObject({
    code: 'validation_failed',
    issues: [{ path: 'file', message: expect.stringContaining(message) }],
  })
})
