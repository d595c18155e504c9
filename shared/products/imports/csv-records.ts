import { invalid, ServiceError } from '#errors'

/** A record with every member at its largest has 60 kB. Longer records are not kept in memory. */
const RECORD_MAX = 256 * 1024

export interface CsvRecord {
  /** The line where it begins, from 1. Line breaks within quotes count. */
  line: number
  /** Its length in the file, in characters. */
  size: number
  fields: string[]
  /** The reason why its fields can't be read. The record then has no fields. */
  flaw?: ServiceError
}

/**
 * The records of a CSV file: https://www.rfc-editor.org/rfc/rfc4180. A line ends with CRLF, LF, or CR alone, as on old Macs. Records of empty
 * fields are left out. A record that is too large, or has a quote in a wrong place, is returned with its flaw, and the next record begins at the
 * next line. Throws `validation_failed` for a quote that is open at the end of the file.
 */
export async function* readRecords(texts: AsyncIterable<string>): AsyncGenerator<CsvRecord> {
  const scanner = new Scanner()
  for await (const text of texts) yield* scanner.scan(text)
  yield* scanner.end()
}

/** The scanner's state within a field. After a quote within quotes, the next character decides whether it was the closing quote. */
type Place = 'start' | 'bare' | 'quoted' | 'afterQuote'

/** The characters that end an unquoted stretch of text. */
const SPECIAL = /[,"\r\n]/g

/** Reads a text that comes in pieces, and keeps the incomplete record. Each character is read once. */
class Scanner {
  #place: Place = 'start'
  #fields: string[] = []
  #field = ''
  #size = 0
  #isStray = false
  #line = 1
  #lineBreaks = 0
  /** Whether a line feed at the next position belongs to the line break before it. */
  #isAfterReturn = false;

  *scan(text: string): Generator<CsvRecord> {
    let at = this.#isAfterReturn && text.startsWith('\n') && this.#place !== 'quoted' ? 1 : 0
    while (at < text.length) {
      if (this.#place === 'quoted') {
        at = this.#scanQuoted(text, at)
        continue
      }
      const end = this.#place === 'afterQuote' ? at : this.#findSpecial(text, at)
      this.#take(text, at, end)
      at = end + 1
      const next = text[end]
      if (next === undefined) break
      if (next === ',') this.#endField()
      else if (next === '\r' || next === '\n') {
        this.#endField()
        this.#lineBreaks++
        if (next === '\r' && text[at] === '\n') at++
        yield* this.#endRecord()
      } else if (next === '"' && this.#place === 'start') this.#place = 'quoted'
      else if (next === '"' && this.#place === 'afterQuote') {
        this.#take(text, end, at)
        this.#place = 'quoted'
      } else {
        this.#isStray = true
        this.#place = 'bare'
      }
    }
    if (text !== '') this.#isAfterReturn = text.endsWith('\r')
  }

  *end(): Generator<CsvRecord> {
    if (this.#place === 'quoted') {
      throw invalid('file', `is not CSV: the record from line ${this.#line} on has a quote that is not closed`)
    }
    this.#endField()
    yield* this.#endRecord()
  }

  #scanQuoted(text: string, at: number): number {
    const quote = text.indexOf('"', at)
    const end = quote === -1 ? text.length : quote
    this.#countLineBreaks(text, at, end)
    this.#take(text, at, end)
    if (quote !== -1) this.#place = 'afterQuote'
    return end + 1
  }

  #findSpecial(text: string, at: number): number {
    SPECIAL.lastIndex = at
    return SPECIAL.exec(text)?.index ?? text.length
  }

  /** Drops the rest of a record that is too large. */
  #take(text: string, at: number, end: number): void {
    if (end === at) return
    if (this.#place === 'start') this.#place = 'bare'
    this.#size += end - at
    if (this.#size <= RECORD_MAX) this.#field += text.slice(at, end)
  }

  #countLineBreaks(text: string, at: number, end: number): void {
    const part = text.slice(at, end)
    const isSecondHalf = at === 0 && this.#isAfterReturn && part.startsWith('\n')
    this.#lineBreaks += (part.match(/\r\n?|\n/g)?.length ?? 0) - (isSecondHalf ? 1 : 0)
  }

  #endField(): void {
    this.#size++
    if (this.#size <= RECORD_MAX) this.#fields.push(this.#field)
    this.#field = ''
    this.#place = 'start'
  }

  *#endRecord(): Generator<CsvRecord> {
    const record = { line: this.#line, size: this.#size, fields: this.#fields }
    const flaw = this.#flaw()
    this.#line += this.#lineBreaks
    this.#lineBreaks = 0
    this.#fields = []
    this.#size = 0
    this.#isStray = false
    if (flaw) yield { ...record, fields: [], flaw }
    else if (record.fields.some((field) => field.trim() !== '')) yield record
  }

  #flaw(): ServiceError | undefined {
    if (this.#size > RECORD_MAX) return new ServiceError('too_large', `The row has more than ${RECORD_MAX} characters.`)
    if (!this.#isStray) return undefined
    return invalid('', 'has a quote in the middle of a field; double it, and quote the whole field')
  }
}
