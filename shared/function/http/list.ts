import * as z from 'zod'
import { Cursor, PageQuery } from '#database'

const empty = z.strictObject({})

/** The query of a list: its own filters, and the position of the page. */
export function pageQuery<Shape extends z.core.$ZodShape = typeof empty.shape>(filter?: z.ZodObject<Shape>) {
  return PageQuery.extend((filter ?? empty).shape as Shape)
}

/** The answer of a list. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), nextCursor: Cursor.nullable() })
}
