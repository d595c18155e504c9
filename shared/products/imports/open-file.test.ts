import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { ServiceError } from '#errors'
import type { ImportFile } from './file.ts'
import { openFile } from './open-file.ts'

async function* pieces(file: string | Uint8Array, size = 1_000_000) {
  const bytes = Buffer.from(file)
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** The rows of a file that comes in pieces of `size` bytes: each row's content or its issues, by its line. */
async function rowsOf(
  format: 'csv' | 'ndjson',
  file: string | Uint8Array,
  size = 1_000_000,
): Promise<Array<[number, unknown]>> {
  const rows: Array<[number, unknown]> = []
  const { rows: all, inItsWords } = await openFile({ format }, pieces(file, size))
  for await (const { line, read } of all) rows.push([line, attempt(read, inItsWords)])
  return rows
}

/** Issues are reported in the file's words. */
function attempt(read: () => unknown, inItsWords: ImportFile['inItsWords']): unknown {
  try {
    return read()
  } catch (error) {
    const { issues, detail } = error as ServiceError
    return issues?.map(inItsWords).map(({ path, message }) => `${path}: ${message}`) ?? detail
  }
}

/** The only row of a CSV file with these columns. */
const rowOf = async (columns: string, row: string) => (await rowsOf('csv', `sku,name,${columns}\nA,B,${row}`))[0]?.[1]

describe('NDJSON', () => {
  it('is a row a line, whatever ends the lines, with blank lines counted but left out', async () => {
    const file = '\ufeff{"a":1}\r\n\n  \t\r\n{"a":"ü 語 🎉"}\n{"a":3}'
    const rows = [
      [1, { a: 1 }],
      [4, { a: 'ü 語 🎉' }],
      [5, { a: 3 }],
    ]
    for (const size of [1, 2, 3, 7, 1_000]) expect(await rowsOf('ndjson', file, size), `${size}`).toEqual(rows)
    expect(await rowsOf('ndjson', `${file}\n`)).toEqual(rows)
    expect(await rowsOf('ndjson', '')).toEqual([])
  })

  it('goes on after a line that is too long', async () => {
    const file = `{"a":1}\n{"a":"${'x'.repeat(1_000_000)}"}\n{"a":3}`
    const rows = await rowsOf('ndjson', file, 100_000)
    expect(rows).toEqual([
      [1, { a: 1 }],
      [2, 'The row has more than 262144 characters.'],
      [3, { a: 3 }],
    ])
  })
})

describe('CSV', () => {
  it('has its columns in the first line, and quotes, commas and line breaks within quotes', async () => {
    const file =
      '\ufeffsku,name,description\r\nA,"Mug, ""white"""\r\n\r\n \nB,"two\r\nlines","and\nthree\n\nmore"\nC,"",\r\nD,ü 語 🎉,"x"'
    const rows = [
      [2, [': has 2 fields, and the first line has 3']],
      [5, { sku: 'B', name: 'two\r\nlines', description: 'and\nthree\n\nmore' }],
      [10, { sku: 'C' }],
      [11, { sku: 'D', name: 'ü 語 🎉', description: 'x' }],
    ]
    for (const size of [1, 2, 3, 7, 1_000]) expect(await rowsOf('csv', file, size), `${size}`).toEqual(rows)
    expect(await rowsOf('csv', `${file}\r\n`)).toEqual(rows)
  })

  it('has a price in two columns, attributes by their names, and numbers where a member is one', async () => {
    const columns = 'priceAmount,priceCurrency,attributes.colour,attributes.a b.c,lowStockThreshold,initialStock,status'
    expect(await rowOf(columns, '1999,EUR,red,1,5,-3,archived')).toEqual({
      sku: 'A',
      name: 'B',
      price: { amount: 1999, currency: 'EUR' },
      attributes: { colour: 'red', 'a b.c': '1' },
      lowStockThreshold: 5,
      initialStock: -3,
      status: 'archived',
    })
    expect(await rowOf(columns, '1999,,,,,,')).toEqual({ sku: 'A', name: 'B', price: { amount: 1999 } })
    expect(await rowOf(columns, ',,,,,,')).toEqual({ sku: 'A', name: 'B' })
  })

  it('has whole numbers, judged by all of their digits, whatever column they are in', async () => {
    const read = async (cell: string) => {
      const columns = ['priceAmount', 'lowStockThreshold', 'initialStock']
      const row = (await rowOf(columns.join(), columns.map(() => cell).join())) as Record<string, unknown> | string[]
      if (Array.isArray(row)) return row.map((issue) => issue.slice(issue.indexOf(':') + 2))
      return [(row.price as { amount: number }).amount, row.lowStockThreshold, row.initialStock]
    }
    const whole = [
      ['0', 0],
      ['007', 7],
      [' 5 ', 5],
      ['5.0', 5],
      ['5.000', 5],
      ['-3', -3],
      ['9007199254740991', 9007199254740991],
    ] as const
    for (const [cell, number] of whole) expect(await read(cell), cell).toEqual([number, number, number])
    const none =
      '9007199254740990.5 9007199254740991.5 0.5 1.0000000000000000001 4.99999999999999999999 5. .0 1e3 1E+05 0x10 +5 1_000 1.000.000 ١ Infinity NaN --1 -'
    for (const cell of none.split(' ')) {
      expect(await read(cell), cell).toEqual(Array(3).fill(`must be a whole number, not "${cell}"`))
    }
    for (const cell of ['9007199254740993', '9'.repeat(400)]) {
      expect(await read(cell)).toEqual(Array(3).fill(`must not have so many digits: "${cell.slice(0, 100)}"`))
    }
  })

  it('tells of a row in the words of the file', async () => {
    const columns = 'SKU,Name,PriceAmount,initialstock,attributes.a'
    expect(await rowsOf('csv', `${columns}\nA,B,1.5,1e3,x`)).toEqual([
      [2, ['PriceAmount: must be a whole number, not "1.5"', 'initialstock: must be a whole number, not "1e3"']],
    ])
    const { inItsWords } = await openFile({ format: 'csv' }, pieces(`${columns}\n`))
    const told = (path: string, message = 'is wrong') => inItsWords({ path, message })
    expect(told('price.amount')).toEqual({ path: 'PriceAmount', message: 'is wrong' })
    expect(told('price.currency')).toEqual({ path: 'priceCurrency', message: 'is wrong' })
    expect(told('attributes.a')).toEqual({ path: 'attributes.a', message: 'is wrong' })
    expect(told('name', 'Invalid input: expected string, received undefined')).toEqual({
      path: 'Name',
      message: 'is missing',
    })
  })
})

describe('what spreadsheets write', () => {
  const row = { sku: 'A', name: 'Mug, white', initialStock: 5 }

  it.each([
    ['commas', 'sku,name,initialStock\r\nA,"Mug, white",5\r\n'],
    ['line ends of old Macs', 'sku,name,initialStock\rA,"Mug, white",5\r'],
    ['names in any case, with spaces around', 'SKU , Name,INITIALSTOCK\nA,"Mug, white",5'],
    ['columns without a name at the end', 'sku,name,initialStock,,\r\nA,"Mug, white",5,,\r\n'],
    ['empty fields behind the columns', 'sku,name,initialStock\nA,"Mug, white",5,,'],
    ['rows of empty fields', ',,\nsku,name,initialStock\n,,\n\n"","",\nA,"Mug, white",5\n;;\n'.replace(';;', ',,,')],
  ])('with %s, is read', async (_, file) => {
    for (const size of [1, 5, 1_000]) {
      expect(
        (await rowsOf('csv', file, size)).map(([, product]) => product),
        `${size}`,
      ).toEqual([row])
    }
  })

  it('has its lines counted, whatever ends them', async () => {
    for (const end of ['\r\n', '\n', '\r']) {
      const file = ['sku,name,description', '', 'A,A,"two', 'lines"', ',,', 'B,B,'].join(end)
      expect(
        (await rowsOf('csv', file)).map(([line]) => line),
        JSON.stringify(end),
      ).toEqual([3, 6])
    }
  })

  it('is a bad row where there is something in a column without a name', async () => {
    expect(await rowsOf('csv', 'sku,name,\nA,B,\nC,D,x')).toEqual([
      [2, { sku: 'A', name: 'B' }],
      [3, [': has 3 fields, and the first line has 2']],
    ])
  })

  it('has attributes by names with dots and in two cases', async () => {
    expect(await rowsOf('csv', 'sku,name,Attributes.a.b,attributes.A.B\nA,B,1,2')).toEqual([
      [2, { sku: 'A', name: 'B', attributes: { 'a.b': '1', 'A.B': '2' } }],
    ])
  })
})

describe('a file that can’t be read', () => {
  const refused = (format: 'csv' | 'ndjson', file: string | Uint8Array, message: string, size?: number) =>
    expect(rowsOf(format, file, size)).rejects.toMatchObject({
      code: 'validation_failed',
      issues: [{ path: 'file', message: expect.stringContaining(message) }],
    })

  it.each([
    ['a byte that is none', Buffer.from('sku,name\nA,\xff', 'latin1')],
    ['a character that is cut off', Buffer.from('sku,name\nA,ü').subarray(0, -1)],
  ])('is one with %s in it', async (_, file) => {
    for (const format of ['ndjson', 'csv'] as const) await refused(format, file, 'is not valid UTF-8')
  })

  it.each([
    ['is UTF-16', Buffer.from('sku\tname\nA\tü', 'utf16le')],
    ['is UTF-16', Buffer.from('\ufeffsku\tname\nA\tü', 'utf16le')],
    ['is UTF-16', Buffer.from('\ufeffsku\tname', 'utf16le').swap16()],
    ['is UTF-16', Buffer.from('sku\tname', 'utf16le').swap16()],
    ['is a workbook (.xlsx)', Buffer.from('504b030414000600', 'hex')],
    ['is a workbook (.xls)', Buffer.from('d0cf11e0a1b11ae1', 'hex')],
    ['is compressed by gzip', gzipSync('sku,name')],
  ])('%s', async (message, file) => {
    for (const format of ['ndjson', 'csv'] as const) await refused(format, file, message)
  })

  const known =
    'Known are sku, name, description, priceAmount, priceCurrency, status, lowStockThreshold, initialStock and attributes.<name>.'
  it.each([
    ['has no line that names the columns', ''],
    ['has no line that names the columns', '\n\r\n,,\n'],
    [`has the unknown column "colour". ${known} Found were "sku", "name", "colour".`, 'sku,name,colour\nA,B,red'],
    [
      `has the unknown columns "colour", "", "size". ${known} Found were "sku", "colour", "", "size", "name".`,
      'sku,colour,,size,name,\nA',
    ],
    ['has the unknown columns "a", "b;c", lacks the columns "sku", "name". ', 'a,b;c\nA;B'],
    ['has its fields separated by semicolons: save it with commas', '\ufeffsku;name;priceAmount\r\nA;Mug;100\r\n'],
    ['has its fields separated by semicolons', '\n"sku";"name";attributes.a,b,c,d\nA;B;c'],
    ['has its fields separated by semicolons', 'Artikel;Preis, netto;Lager\nA;5;3'],
    ['has its fields separated by tabs', '"sku"\t"name"\nA\tB'],
    ['has its fields separated by tabs', 'Variant SKU\tTitle'],
    ['lacks the column "sku"', 'name\nA'],
    ['has twice the column "SKU"', 'sku,name,SKU'],
    ['has twice the column "attributes.a"', 'sku,name,attributes.a,attributes.a'],
    ['has the unknown column "attributes."', 'sku,name,attributes.'],
    ['has the unknown column "attributes.__proto__"', 'sku,name,attributes.__proto__'],
    ['has the unknown column "toString"', 'sku,name,toString'],
    ['has the unknown column "price"', 'sku,name,price'],
    [`has the unknown column "a\\u0000${'x'.repeat(98)}"`, `sku,name,"a\u0000${'x'.repeat(500)}"`],
    ['has more than 1000 columns', `sku,name${',a'.repeat(1_000)}`],
    ['?format=woocommerce&currency=EUR', 'ID,Type,SKU,Name,Published,Stock,"Regular price"\r\n76,simple,A,B,1,,20\r\n'],
    ['?format=shopify&currency=EUR', 'Handle,Title,Variant SKU\na,A,A'],
    ['has no line that names the columns: line 1 can’t be read: has a quote in the middle', 'sku,na"me\nA,5'],
    [
      'has no line that names the columns: line 1 can’t be read: The row has more than',
      `sku,name,${'x'.repeat(300_000)}\nA,5`,
    ],
    ['is not CSV: the record from line 4 on has a quote that is not closed', 'sku,name\nA,B\n\nC,"D\nE,F\n'],
  ])('is CSV that %s', (message, file) => refused('csv', file, message))
})
