import { pipeline } from 'node:stream/promises'
import { CsvError, type CsvErrorCode, parse } from 'csv-parse'
import { invalid, type ServiceError } from '#errors'
import type { ImportRow } from './import-rows.ts'

/** A row with everything at its largest has 60 kB. One that is longer is most likely a quote that is never closed. */
const RECORD_MAX = 256 * 1024

/** A row for each record after the first, which names the columns: https://www.rfc-editor.org/rfc/rfc4180. Throws `validation_failed`. */
export async function* readCsv(texts: AsyncIterable<string>): AsyncGenerator<ImportRow> {
  // Counted here: the parser takes a line break of two characters within quotes for two.
  let line = 1
  const parser = parse({
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    max_record_size: RECORD_MAX,
    // With its line in front of its fields.
    on_record: (fields: string[]) => {
      const record = [String(line), ...fields]
      line += 1 + fields.reduce((sum, field) => sum + lineBreaksIn(field), 0)
      return fields.length === 1 && fields[0]?.trim() === '' ? null : record
    },
  })
  // What it rejects with, reading throws as well.
  pipeline(texts, parser).catch(() => {})
  let columns: Column[] | undefined
  try {
    for await (const [at, ...fields] of parser as AsyncIterable<string[]>) {
      if (columns) yield toRow(Number(at), fields, columns)
      else columns = toColumns(fields)
    }
  } catch (error) {
    throw error instanceof CsvError ? malformed(error, line) : error
  }
  if (!columns) throw invalid('file', 'has no line that names the columns')
}

function lineBreaksIn(field: string): number {
  return field.includes('\n') ? field.split('\n').length - 1 : 0
}

/** What else the parser refuses is a quote where none can be. */
const reasons: Partial<Record<CsvErrorCode, string>> = {
  CSV_MAX_RECORD_SIZE: `has more than ${RECORD_MAX} bytes; a quote may not be closed`,
  CSV_QUOTE_NOT_CLOSED: 'has a quote that is not closed',
}

function malformed({ code }: CsvError, line: number): ServiceError {
  const reason = reasons[code] ?? 'has a quote in the middle of a field; double it, and quote the whole field'
  return invalid('file', `is not CSV: the record from line ${line} on ${reason}`)
}

interface Column {
  kind: 'text' | 'number' | 'price' | 'attribute'
  /** The member that it is of the product, the price or the attributes. */
  member: string
}

const kinds = {
  sku: 'text',
  name: 'text',
  description: 'text',
  status: 'text',
  lowStockThreshold: 'number',
  initialStock: 'number',
} as const

/** What the columns are, by the first record. */
function toColumns(names: string[]): Column[] {
  const repeated = names.find((name, index) => names.indexOf(name) < index)
  if (repeated !== undefined) throw invalid('file', `has the column ${quoted(repeated)} twice`)
  const missing = ['sku', 'name'].find((name) => !names.includes(name))
  if (missing) throw invalid('file', `lacks the column ${quoted(missing)}`)
  return names.map(toColumn)
}

function toColumn(name: string): Column {
  if (Object.hasOwn(kinds, name)) return { kind: kinds[name as keyof typeof kinds], member: name }
  if (name === 'priceAmount') return { kind: 'price', member: 'amount' }
  if (name === 'priceCurrency') return { kind: 'price', member: 'currency' }
  const attribute = /^attributes\.(.{1,100})$/su.exec(name)?.[1]
  // Schemas skip a member named so.
  if (attribute && attribute !== '__proto__') return { kind: 'attribute', member: attribute }
  throw invalid('file', `has the unknown column ${quoted(name)}`)
}

/** As a JSON text, so that it can be told whatever is in it. */
const quoted = (name: string) => JSON.stringify(name.slice(0, 100))

function toRow(line: number, fields: readonly string[], columns: readonly Column[]): ImportRow {
  const size = fields.reduce((sum, field) => sum + field.length, 0)
  return { line, size, read: () => toProduct(fields, columns) }
}

/** The row as JSON would have it: empty fields are left out. */
function toProduct(fields: readonly string[], columns: readonly Column[]): object {
  if (fields.length !== columns.length) {
    throw invalid('', `has ${fields.length} fields, and the first line has ${columns.length}`)
  }
  const [members, price, attributes] = [new Map<string, unknown>(), new Map(), new Map()]
  for (const [index, { kind, member }] of columns.entries()) {
    const field = fields[index] ?? ''
    if (field === '') continue
    const value = kind === 'number' || member === 'amount' ? toNumber(field) : field
    const target = { text: members, number: members, price, attribute: attributes }[kind]
    target.set(member, value)
  }
  if (price.size > 0) members.set('price', Object.fromEntries(price))
  if (attributes.size > 0) members.set('attributes', Object.fromEntries(attributes))
  return Object.fromEntries(members)
}

/** What is no number is left to the schema to refuse. */
function toNumber(field: string): number | string {
  return /^-?\d+(\.\d+)?$/.test(field) ? Number(field) : field
}
