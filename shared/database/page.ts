import * as z from 'zod'
import { invalid } from '#errors'

/** The members every list's query has. */
export const PageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50).describe('How many items to answer with.'),
  cursor: z.string().max(1_000).optional().describe('`nextCursor` of the page before.'),
})

export interface PageRequest {
  limit: number
  cursor?: string | undefined
}

export interface Page<Item> {
  items: Item[]
  nextCursor: string | null
}

/**
 * Reads one page by keyset: `fetch` gets the last item's keys of the page before (undefined on the first page) and must
 * give up to `limit + 1` rows. `kind` names the list and its order, so that a cursor works only where it came from.
 * Throws `validation_failed` for any other cursor.
 */
export async function readPage<Row, Item, const Keys extends z.ZodType>(
  request: PageRequest,
  list: {
    kind: string
    keys: Keys
    fetch: (after: z.infer<Keys> | undefined, limit: number) => Promise<Row[]>
    keysOf: (row: Row) => z.infer<Keys>
    toItem: (row: Row) => Item
  },
): Promise<Page<Item>> {
  const after = request.cursor === undefined ? undefined : decodeCursor(request.cursor, list.kind, list.keys)
  const rows = await list.fetch(after, request.limit + 1)
  const page = rows.slice(0, request.limit)
  const last = page.at(-1)
  return {
    items: page.map(list.toItem),
    nextCursor: last !== undefined && rows.length > request.limit ? encodeCursor(list.kind, list.keysOf(last)) : null,
  }
}

const CursorParts = z.tuple([z.string(), z.unknown()])

function encodeCursor(kind: string, keys: unknown): string {
  return Buffer.from(JSON.stringify([kind, keys])).toString('base64url')
}

function decodeCursor<Keys extends z.ZodType>(cursor: string, kind: string, keys: Keys): z.infer<Keys> {
  try {
    const [cursorKind, values] = CursorParts.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()))
    if (cursorKind === kind) return keys.parse(values)
  } catch {
    // Whatever is wrong with it, it did not come from this list.
  }
  throw invalid('cursor', 'is not a nextCursor of this list in this order')
}
