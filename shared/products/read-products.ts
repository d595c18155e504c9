import * as z from 'zod'
import { type Caller, type Page, type PageRequest, read, readPage, type Sql } from '#database'
import { productNotFound } from '#stock'
import {
  columns,
  findProducts,
  fromRow,
  type ProductWithStock,
  stockJoin,
  type VersionedProduct,
} from './product-rows.ts'
import type { Product, ProductFilter } from './schema.ts'

/** Throws `product_not_found`. */
export async function getProduct(id: string, caller: Caller): Promise<VersionedProduct> {
  const [row] = await read(
    caller,
    (sql) => findProducts(sql, [id]),
    (rows) => rows.length === 0,
  )
  if (!row) throw productNotFound(id)
  return fromRow(row)
}

type Filter = z.infer<typeof ProductFilter>

export function listProducts(query: Filter & PageRequest, caller: Caller): Promise<Page<Product>> {
  return readPage(query, {
    kind: `products ${query.sort}`,
    keys: z.tuple([query.sort === 'sku' || query.sort === 'name' ? z.string() : z.iso.datetime(), z.guid()]),
    fetch: (after, limit) => read(caller, (sql) => findPage(sql, query, after, limit)),
    keysOf: (row): [string, string] => [sortKey(row, query.sort), row.id],
    toItem: (row) => fromRow(row).product,
  })
}

function sortKey(row: ProductWithStock, sort: Filter['sort']): string {
  return sort === 'sku' || sort === 'name' ? row[sort] : row.createdAt.toISOString()
}

/**
 * The page is chosen before the stock is joined, so only its own products' levels are looked at. Names are searched under
 * a collation that knows upper and lower case beyond ASCII; the column's own, C, does not.
 */
function findPage(sql: Sql, { search, sku, status, sort }: Filter, after: [string, string] | undefined, limit: number) {
  const column = { createdAt: sql`created_at`, '-createdAt': sql`created_at`, sku: sql`sku`, name: sql`name` }[sort]
  const direction = sort === '-createdAt' ? sql`desc` : sql``
  const comparison = sort === '-createdAt' ? sql`<` : sql`>`
  const pattern = search === undefined ? undefined : `%${search.replaceAll(/[\\%_]/g, '\\$&')}%`
  return sql<ProductWithStock[]>`
    select ${columns(sql)}, stock."onHand", stock.reserved, stock."stockVersion"
    from (
      select * from products
      where deleted_at is null
        and ${after === undefined ? sql`true` : sql`(${column}, id) ${comparison} (${after[0]}, ${after[1]})`}
        and ${sku === undefined ? sql`true` : sql`sku = ${sku}`}
        and ${status === undefined ? sql`true` : sql`status = ${status}`}
        and ${pattern === undefined ? sql`true` : sql`(name collate pg_c_utf8 ilike ${pattern} or sku ilike ${pattern})`}
      order by ${column} ${direction}, id ${direction} limit ${limit}
    ) as product ${stockJoin(sql)}
    order by product.${column} ${direction}, product.id ${direction}`
}
