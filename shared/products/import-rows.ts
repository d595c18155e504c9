import { invalid } from '#errors'
import { readCsv } from './import-csv.ts'
import { readNdjson } from './import-ndjson.ts'

/** A row of a file, and where it begins there, from 1. */
export interface ImportRow {
  line: number
  /** About how much memory it takes. */
  size: number
  /** What it says, as JSON. Throws a ServiceError where it can't be read. */
  read: () => unknown
}

export type ImportFormat = 'csv' | 'ndjson'

/**
 * The rows of a file, one after the other, blank lines left out. Throws `validation_failed` for a file that can't be read at all:
 * not UTF-8, or not CSV.
 */
export function readRows(format: ImportFormat, blocks: AsyncIterable<Uint8Array>): AsyncGenerator<ImportRow> {
  const texts = decode(blocks)
  return format === 'csv' ? readCsv(texts) : readNdjson(texts)
}

/** A byte order mark is left out. */
async function* decode(blocks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const decodeNext = (block?: Uint8Array) => {
    try {
      return decoder.decode(block, { stream: block !== undefined })
    } catch {
      throw invalid('file', 'is not valid UTF-8')
    }
  }
  for await (const block of blocks) yield decodeNext(block)
  yield decodeNext()
}
