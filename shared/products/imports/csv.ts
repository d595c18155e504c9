import { type Issue, invalid } from '#errors'
import { type CsvRecord, readRecords } from './csv-records.ts'
import type { ImportFile, ImportRow } from './file.ts'

/** A product can have a hundred attributes, and shops' exports have some hundred columns. */
const COLUMNS_MAX = 1_000
/** Delimiters in other files that are called CSV: in countries with a decimal comma, spreadsheets write semicolons. */
const foreign = { ';': 'semicolons', '\t': 'tabs' }
/** The first line must end within this length. */
const FIRST_LINE_MAX = 256 * 1024

/** How the columns of a file become products. */
export interface Sheet {
  /**
   * Call it with all rows in their order. Returns a function that gives the row's product, as JSON, or undefined for a row without a product.
   * Throws `validation_failed`.
   */
  read: (cells: readonly string[]) => (() => unknown) | undefined
  /** The issue of a product, in the words of the file's columns. */
  inItsWords: (issue: Issue) => Issue
  /** The number of columns that are not imported. */
  ignored?: number
}

/** The rows of a CSV file whose first record names the columns, which `layOut` interprets. Throws `validation_failed`. */
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

/** Drops unnamed columns at the end, which spreadsheets write for cleared columns. */
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
 * Passes the texts on. Throws `validation_failed` if the first line that is not blank shows another delimiter: with commas, the line would be a
 * single column.
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

/** The first line that is not blank, once it is complete. Found in two steps, since one pattern would be tried at every character. */
function firstLineOf(text: string): string | undefined {
  const from = text.search(/\S/)
  if (from === -1) return undefined
  const length = text.slice(from).search(/[\r\n]/)
  return length === -1 ? undefined : text.slice(from, from + length)
}

/** Works without parsing quotes: a column named sku, or else the number of columns, shows the delimiter. */
function foreignDelimiterOf(line: string): string | undefined {
  const columns = (delimiter: string) => line.split(delimiter).map((name) => name.replaceAll('"', '').trim())
  const hasSkus = (delimiter: string) => columns(delimiter).some((name) => /^(variant )?sku$/i.test(name))
  const withCommas = columns(',').length
  const found = Object.entries(foreign).find(
    ([delimiter]) => hasSkus(delimiter) || columns(delimiter).length > withCommas,
  )
  return hasSkus(',') ? undefined : found?.[1]
}
