import { layOutProducts } from './import-columns.ts'
import { openCsv } from './import-csv.ts'
import type { ImportFile } from './import-file.ts'
import { readNdjson } from './import-ndjson.ts'
import { decode } from './import-text.ts'

export type ImportFormat = 'csv' | 'ndjson'

/** Throws `validation_failed` for a file that can't be read at all: not UTF-8, or without the columns that it must have. */
export async function openFile(format: ImportFormat, blocks: AsyncIterable<Uint8Array>): Promise<ImportFile> {
  const texts = decode(blocks)
  if (format === 'csv') return openCsv(texts, layOutProducts)
  return { rows: readNdjson(texts), inItsWords: (issue) => issue }
}
