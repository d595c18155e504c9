import { ServiceError } from '#errors'
import { parseJson } from '#input'
import type { ImportRow } from './file.ts'

/** A row with every member at its largest, and every character escaped, has 150 kB. Longer rows are not kept in memory. */
const LINE_MAX = 256 * 1024

/** A row for each line that is not blank: https://github.com/ndjson/ndjson-spec */
export async function* readNdjson(texts: AsyncIterable<string>): AsyncGenerator<ImportRow> {
  let line = 0
  let rest = ''
  for await (const text of texts) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const each of lines) {
      line++
      if (each.trim() !== '') yield toRow(line, each)
    }
    // Of a line that is too long, keeps only enough to detect that.
    rest = rest.slice(0, LINE_MAX + 1)
  }
  if (rest.trim() !== '') yield toRow(line + 1, rest)
}

function toRow(line: number, text: string): ImportRow {
  const read = () => {
    if (text.length > LINE_MAX) throw new ServiceError('too_large', `The row has more than ${LINE_MAX} characters.`)
    return parseJson(text)
  }
  return { line, size: text.length, read }
}
