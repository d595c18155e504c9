import { layOutProducts } from './columns.ts'
import { openCsv } from './csv.ts'
import type { ImportFile } from './file.ts'
import { readNdjson } from './ndjson.ts'
import type { ImportPayload } from './payload.ts'
import { layOutShop } from './shop.ts'
import { shopify } from './shopify.ts'
import { decode } from './text.ts'
import { woocommerce } from './woocommerce.ts'

const shops = { shopify, woocommerce }

/** Throws `validation_failed` for a file that can't be read at all: it is not UTF-8, or lacks required columns. */
export async function openFile(
  { format, shop }: ImportPayload,
  blocks: AsyncIterable<Uint8Array>,
): Promise<ImportFile> {
  const texts = decode(blocks)
  if (format === 'ndjson') return { rows: readNdjson(texts), inItsWords: (issue) => issue }
  if (!shop) return openCsv(texts, layOutProducts)
  return openCsv(texts, (names) => layOutShop(shops[shop.name], shop.currency, names))
}
