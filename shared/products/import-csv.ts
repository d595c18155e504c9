import { type Issue, invalid } from '#errors'
import { type CsvRecord, readRecords } from './csv-records.ts'
import type { ImportFile, ImportRow } from './import-file.ts'

/** A schema lets a product have a hundred attributes, and what shops export has some hundred columns. */
const COLUMNS_MAX = 1_000
/** What parts fields in files that are called CSV as well: where the comma is for decimals, spreadsheets take semicolons. */
const foreign = { ';': 'semicolons', '\t': 'tabs' }
/** The first line is looked for in no more than this. */
const FIRST_LINE_MAX = 256 * 1024

/** What the columns of a file say of products. */
export interface Sheet {
  /**
   * To be called with all rows in their order: gives what one says of a product, as JSON, or nothing where it tells of none. Both throw
   * `validation_failed`.
   */
  read: (cells: readonly string[]) => (() => unknown) | undefined
  /** What is wrong with a product, in the file's words. */
  inItsWords: (issue: Issue) => Issue
  /** Columns that say nothing that is taken. */
  ignored?: number
}

/** Rows of a CSV file, whose first record names the columns: `layOut` tells what they are. Throws `validation_failed`. */
export async function openCsv(
  texts: AsyncIterable<string>,
  layOut: (names: readonly string[]) => Sheet,
): Promise<ImportFile> {
  const records = readRecords(await requireCommas(texts))
  const { value: header } = await records.next()
  if (!header) throw invalid('file', 'has no line that names the columns')
  if (header.flaw) {
    const reason = header.flaw.issues?.[0]?.message ?? header.flaw.detail
    throw invalid('file', `has no line that names the columns: line ${header.line} can’t be read: ${reason}`)
  }
  const names = namesOf(header.fields)
  const { read, inItsWords, ignored } = layOut(names)
  return {
    rows: rowsOf(records, names.length, read),
    inItsWords,
    ...(ignored !== undefined && { ignoredColumns: ignored }),
  }
}

/** Without those at the end that have no name, as spreadsheets leave for columns that were cleared. */
function namesOf(fields: readonly string[]): string[] {
  const names = fields.map((field) => field.trim())
  const last = names.findLastIndex((name) => name !== '')
  if (last >= COLUMNS_MAX) throw invalid('file', `has more than ${COLUMNS_MAX} columns`)
  return names.slice(0, last + 1)
}

async function* rowsOf(
  records: AsyncGenerator<CsvRecord>,
  width: number,
  read: Sheet['read'],
): AsyncGenerator<ImportRow> {
  for await (const record of records) {
    const tell = toProduct(record, width, read)
    if (tell) yield { line: record.line, size: record.size, read: tell }
  }
}

function toProduct({ fields, flaw }: CsvRecord, width: number, read: Sheet['read']): ImportRow['read'] | undefined {
  const refuse = (error: unknown) => () => {
    throw error
  }
  if (flaw) return refuse(flaw)
  if (fields.length < width || fields.slice(width).some((field) => field.trim() !== '')) {
    return refuse(invalid('', `has ${fields.length} fields, and the first line has ${width}`))
  }
  try {
    return read(fields.slice(0, width))
  } catch (error) {
    return refuse(error)
  }
}

/**
 * The same texts. Throws `validation_failed` where fields are parted by something else, as the first line that is not blank tells: with
 * commas that would be one column, or one that the file has.
 */
async function requireCommas(texts: AsyncIterable<string>): Promise<AsyncIterable<string>> {
  const rest = texts[Symbol.asyncIterator]()
  let start = ''
  let line: string | undefined
  while (line === undefined) {
    const next = await rest.next()
    start += next.value ?? ''
    line = firstLineOf(start)
    if (next.done || start.length > FIRST_LINE_MAX) line ??= start
  }
  const used = foreignDelimiterOf(line)
  if (used) throw invalid('file', `has its fields separated by ${used}: save it with commas, as a CSV file has them`)
  return {
    async *[Symbol.asyncIterator]() {
      yield start
      yield* { [Symbol.asyncIterator]: () => rest }
    },
  }
}

/** The first line that is not blank, once its end is there. In two steps: as one pattern it would be tried at every character. */
function firstLineOf(text: string): string | undefined {
  const from = text.search(/\S/)
  if (from === -1) return undefined
  const length = text.slice(from).search(/[\r\n]/)
  return length === -1 ? undefined : text.slice(from, from + length)
}

/** Quotes need not be understood for that: a column of skus, or else the number of columns tells. */
function foreignDelimiterOf(line: string): string | undefined {
  const columns = (delimiter: string) => line.split(delimiter).map((name) => name.replaceAll('"', '').trim())
  const hasSkus = (delimiter: string) => columns(delimiter).some((name) => /^(variant )?sku$/i.test(name))
  const withCommas = columns(',').length
  const found = Object.entries(foreign).find(
    ([delimiter]) => hasSkus(delimiter) || columns(delimiter).length > withCommas,
  )
  return hasSkus(',') ? undefined : found?.[1]
}
