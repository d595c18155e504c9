import * as z from 'zod'
import { invalid } from '#errors'
import { decimalInteger } from '#input'
import { createFairLimit, type Requester } from './fair-limit.ts'

/** The JSON in a cursor. The longest key is a name of 200 characters of four bytes; the rest takes some 100 bytes. */
const CURSOR_BYTES_MAX = 1_200

const NO_CURSOR = 'is not a nextCursor of this list in this order'

/** Accepts every `nextCursor` that this service gives: base64url, in which four characters hold three bytes. */
export const Cursor = z
  .string()
  .max(Math.ceil((CURSOR_BYTES_MAX * 4) / 3))
  .regex(/^[A-Za-z0-9_-]+$/, NO_CURSOR)

/** The members of every list's query. */
export const PageQuery = z.strictObject({
  limit: decimalInteger({ min: 1, max: 200 }).default(50).describe('How many items to answer with, at most.'),
  cursor: Cursor.optional().describe('`nextCursor` of the page before.'),
})

/** The largest size of a page as JSON. A page ends before the item that would exceed it: 200 products may be 12 MB. */
const PAGE_BYTES_MAX = 1024 * 1024
/** The largest size of a page's JSON without its items: a cursor and some names. */
const FRAME_BYTES_MAX = 2_048
/** Rows of the first statement, when their size is unknown, and of any later one: 2 and 4 MB for the largest products, which have 60 kB. */
const FIRST_ROWS_MAX = 32
const ROWS_MAX = 64
/** Pages that are read at once, and pages that may wait for that. Those being read take 50 MB at worst, with their rows, items and JSON. */
const PAGES_MAX = 8
const WAITING_MAX = 500

const limited = createFairLimit({
  atOnceMax: PAGES_MAX,
  waitingMax: WAITING_MAX,
  tooMany: 'Too many lists are being read, or by this API key.',
})

export interface PageRequest {
  limit: number
  cursor?: string | undefined
}

export interface Page<Item> {
  items: Item[]
  nextCursor: string | null
}

export interface List<Row, Item, Keys extends z.ZodType> {
  /** Names the list and its order: a cursor works only for the list that it comes from. */
  kind: string
  keys: Keys
  /** Returns up to `limit` rows after the row with the keys `after`, or the first rows if `after` is undefined. */
  fetch: (after: z.infer<Keys> | undefined, limit: number) => Promise<Row[]>
  keysOf: (row: Row) => z.infer<Keys>
  toItem: (row: Row) => Item
}

/**
 * Reads one page by keyset pagination: up to `limit` items, or fewer if they would exceed 1 MiB. Throws `validation_failed` for a cursor of another
 * list, `overloaded` if too many pages are being read, and `client_closed_request` if the client is gone before its turn.
 */
export async function readPage<Row, Item, const Keys extends z.ZodType>(
  request: PageRequest,
  by: Requester,
  list: List<Row, Item, Keys>,
): Promise<Page<Item>> {
  const after = request.cursor === undefined ? undefined : decodeCursor(request.cursor, list.kind, list.keys)
  return limited(by, () => collect(list, after, request.limit))
}

/** Reads some rows to learn their size, and then as many as fit. It takes at most `limit + 1` statements. */
async function collect<Row, Item, Keys extends z.ZodType>(
  list: List<Row, Item, Keys>,
  firstAfter: z.infer<Keys> | undefined,
  limit: number,
): Promise<Page<Item>> {
  const items: Item[] = []
  let after = firstAfter
  let bytesLeft = PAGE_BYTES_MAX - FRAME_BYTES_MAX
  let rowsMax = FIRST_ROWS_MAX
  for (;;) {
    // One row more than the page has, to learn whether there is another page.
    const wanted = Math.min(limit + 1 - items.length, rowsMax)
    const rows = await list.fetch(after, wanted)
    for (const row of rows) {
      const item = list.toItem(row)
      const bytes = Buffer.byteLength(JSON.stringify(item)) + 1
      const isFull = items.length === limit || (items.length > 0 && bytes > bytesLeft)
      if (isFull) return { items, nextCursor: encodeCursor(list.kind, after) }
      items.push(item)
      bytesLeft -= bytes
      after = list.keysOf(row)
    }
    if (rows.length < wanted) return { items, nextCursor: null }
    const bytesOfOne = (PAGE_BYTES_MAX - bytesLeft) / items.length
    rowsMax = Math.min(ROWS_MAX, Math.max(1, Math.ceil(bytesLeft / bytesOfOne)))
  }
}

const CursorParts = z.tuple([z.string(), z.unknown()])

function encodeCursor(kind: string, keys: unknown): string {
  const bytes = Buffer.from(JSON.stringify([kind, keys]))
  if (bytes.length > CURSOR_BYTES_MAX) throw new Error(`a cursor of ${kind} is longer than any may be`)
  return bytes.toString('base64url')
}

function decodeCursor<Keys extends z.ZodType>(cursor: string, kind: string, keys: Keys): z.infer<Keys> {
  try {
    const [cursorKind, values] = CursorParts.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()))
    if (cursorKind === kind) return keys.parse(values)
  } catch {
    // Anything malformed is not a cursor of this list.
  }
  throw invalid('cursor', NO_CURSOR)
}
