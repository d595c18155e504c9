import { describe, expect, it } from 'vitest'
import { type ImportFormat, readRows } from './import-rows.ts'

/** The rows of a file that comes in pieces of `size` bytes: what each says, or what is wrong with it, by its line. */
async function rowsOf(
  format: ImportFormat,
  file: string | Uint8Array,
  size = 1_000_000,
): Promise<Array<[number, unknown]>> {
  const bytes = Buffer.from(file)
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  }
  const rows: Array<[number, unknown]> = []
  for await (const { line, read } of readRows(format, pieces())) rows.push([line, attempt(read)])
  return rows
}

function attempt(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    return String(error)
  }
}

/** The one row of a CSV file with these columns. */
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
      [2, expect.stringContaining('too_large: The row has more than 262144 characters')],
      [3, { a: 3 }],
    ])
  })
})

describe('CSV', () => {
  it('has its columns in the first line, and quotes, commas and line breaks within quotes', async () => {
    const file =
      '\ufeffsku,name,description\r\nA,"Mug, ""white"""\r\n\r\n \nB,"two\r\nlines","and\nthree\n\nmore"\nC,"",\r\nD,ü 語 🎉,"x"'
    const rows = [
      [2, 'ServiceError: validation_failed: : has 2 fields, and the first line has 3'],
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
    expect(await rowOf(columns, '1999,,,,1e3,1.5,')).toEqual({
      sku: 'A',
      name: 'B',
      price: { amount: 1999 },
      lowStockThreshold: '1e3',
      initialStock: 1.5,
    })
    expect(await rowOf(columns, ',,,,,,')).toEqual({ sku: 'A', name: 'B' })
  })
})

describe('a file that can’t be read', () => {
  const refused = (format: ImportFormat, file: string | Uint8Array, message: string, size?: number) =>
    expect(rowsOf(format, file, size)).rejects.toMatchObject({
      code: 'validation_failed',
      issues: [{ path: 'file', message: expect.stringContaining(message) }],
    })

  it.each([
    ['a byte that is none', Buffer.from('sku,name\nA,\xff', 'latin1')],
    ['a character that is cut off', Buffer.from('sku,name\nA,ü').subarray(0, -1)],
    ['UTF-16', Buffer.from('sku,name\nA,ü', 'utf16le')],
  ])('is one with %s in it', async (_, file) => {
    for (const format of ['ndjson', 'csv'] as const) await refused(format, file, 'is not valid UTF-8')
  })

  it.each([
    ['has no line that names the columns', ''],
    ['has no line that names the columns', '\n\r\n'],
    ['has the unknown column "colour"', 'sku,name,colour\nA,B,red'],
    ['has the unknown column ""', 'sku,name,\nA,B,'],
    ['lacks the column "name"', 'sku, name\nA,B'],
    ['lacks the column "sku"', 'name\nA'],
    ['has the column "sku" twice', 'sku,name,sku'],
    ['has the unknown column "attributes."', 'sku,name,attributes.'],
    ['has the unknown column "attributes.__proto__"', 'sku,name,attributes.__proto__'],
    ['has the unknown column "toString"', 'sku,name,toString'],
    ['has the unknown column "price"', 'sku,name,price'],
    [`has the unknown column "a\\u0000${'x'.repeat(98)}"`, `sku,name,"a\u0000${'x'.repeat(500)}"`],
    ['is not CSV: the record from line 4 on has a quote in the middle', 'sku,name\nA,"x\r\ny"\nB,"x"y'],
    ['is not CSV: the record from line 2 on has a quote in the middle', 'sku,name\nA,5" pipe'],
    ['is not CSV: the record from line 4 on has a quote that is not closed', 'sku,name\nA,B\n\nC,"D\nE,F\n'],
    ['is not CSV: the record from line 2 on has more than 262144 bytes', `sku,name\nA,"${'x\n'.repeat(200_000)}`],
  ])('is CSV that %s', (message, file) => refused('csv', file, message, 1_000))
})
