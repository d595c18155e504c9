import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CsvRecord, readRecords } from './csv-records.ts'

async function* piecesOf(text: string, sizes: readonly number[]) {
  for (let at = 0, index = 0; at < text.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    yield text.slice(at, at + size)
    at += size
  }
}

async function recordsOf(text: string, sizes: readonly number[] = [100_000]): Promise<CsvRecord[]> {
  const records: CsvRecord[] = []
  for await (const record of readRecords(piecesOf(text, sizes))) records.push(record)
  return records
}

describe('any table', () => {
  const cell = fc.oneof(
    fc.string({ unit: fc.constantFrom('a', 'ü', '🎉', '"', ',', ';', '\t', '\r', '\n', '\r\n', ' ') }),
    fc.string({ unit: 'binary' }),
  )
  const rows = fc.array(fc.array(cell, { minLength: 1, maxLength: 6 }), { maxLength: 8 })

  it('that is written as CSV is read back as it was, by the lines that its rows begin at, in whatever pieces it comes', async () => {
    const lineBreaksIn = (text: string) => text.match(/\r\n?|\n/g)?.length ?? 0
    const written = fc.record({
      rows,
      lineEnd: fc.constantFrom('\r\n', '\n', '\r'),
      endsWithLineEnd: fc.boolean(),
      quotesAll: fc.boolean(),
      sizes: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
    })
    await fc.assert(
      fc.asyncProperty(written, async ({ rows, lineEnd, endsWithLineEnd, quotesAll, sizes }) => {
        const write = (text: string) => (quotesAll || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
        const texts = rows.map((row) => row.map(write).join())
        const expected = rows
          .map((fields, index) => ({ fields, line: 1 + lineBreaksIn(texts.slice(0, index).concat('').join(lineEnd)) }))
          .filter(({ fields }) => fields.some((field) => field.trim() !== ''))
        const read = await recordsOf(texts.join(lineEnd) + (endsWithLineEnd ? lineEnd : ''), sizes)
        expect(read.map(({ fields, line }) => ({ fields, line }))).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  })

  it('of any text at all is read to its end, or refused for a quote, the same in whatever pieces it comes', async () => {
    const text = fc.string({ unit: fc.constantFrom('a', ' ', '"', ',', '\r', '\n'), maxLength: 40 })
    const outcome = (text: string, size: number) =>
      recordsOf(text, [size]).catch((error: { issues: unknown }) => error.issues)
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 1, max: 5 }), async (text, size) => {
        expect(await outcome(text, size)).toEqual(await outcome(text, 1_000))
      }),
      { numRuns: 500 },
    )
  })
})

describe('a record', () => {
  const flawsOf = async (text: string, sizes?: number[]) =>
    (await recordsOf(text, sizes)).map(({ line, fields, flaw }) => [line, flaw?.code ?? fields.join('|')])

  it('of empty fields is left out, and its line counted', async () => {
    expect(await flawsOf('a,b\r\n,,\r\n\r\n \t \n"",""\n, ," "\nc,d')).toEqual([
      [1, 'a|b'],
      [7, 'c|d'],
    ])
  })

  it.each([
    ['in the middle of a field', 'A,5" pipe\nB,C'],
    ['behind a quoted field', 'A,"5" pipe\nB,C'],
    ['in front of more text', 'A,"x"y,"z\nw"\nB,C'],
    ['behind spaces', 'A, "x"\nB,C'],
  ])('with a quote %s is flawed, and the next one is not', async (_, text) => {
    const [[line, flaw] = [], next] = await flawsOf(text)
    expect([line, flaw, next?.[1]]).toEqual([1, 'validation_failed', 'B|C'])
  })

  it.each([
    ['one bare field', 'x'.repeat(300_000)],
    ['one quoted field of many lines', `"${'x\n'.repeat(150_000)}"`],
    ['quotes', `"${'""'.repeat(300_000)}"`],
    ['fields', 'x,'.repeat(150_000)],
    ['empty fields', `x${','.repeat(300_000)}`],
  ])('that is too large, by %s, is flawed, and the next one is not', async (_, text) => {
    const lines = text.split('\n').length
    for (const sizes of [[1_000_000], [65_536], [1_001]]) {
      const records = await recordsOf(`a,b\n${text}\nc,d`, sizes)
      expect(records).toMatchObject([
        { line: 1, fields: ['a', 'b'] },
        { line: 2, fields: [], flaw: { code: 'too_large' } },
        { line: 2 + lines, fields: ['c', 'd'] },
      ])
    }
  })

  it('whose quote is open at the end of the file makes that unfit', async () => {
    for (const text of ['a\n\n"b', 'a\n\n"b""', `a\n\n"${'b\n'.repeat(200_000)}`]) {
      await expect(recordsOf(text)).rejects.toMatchObject({
        issues: [{ path: 'file', message: 'is not CSV: the record from line 3 on has a quote that is not closed' }],
      })
    }
  })
})
