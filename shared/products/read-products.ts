import * as z from 'zod'
import { cached } from '#cache'
import {
  type Page,
  type PageRequest,
  type RequestContext,
  read,
  readPage,
  requireAskedFor,
  type Sql,
  scan,
} from '#database'
import { notFound } from '#errors'
import { cacheGroup } from '#stock'
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
export async function getProduct(id: string, context: RequestContext): Promise<VersionedProduct> {
  const product = await cached(productCache(id), context, async (sql) => {
    const [row] = await findProducts(sql, [id])
    // A cache would give a wrong row to all readers.
    if (row) requireAskedFor(row.id === id, 'product')
    return row ? fromRow(row) : null
  })
  if (!product) throw notFound('product', id)
  return product
}

/**
 * Every change of a product or its stock invalidates its entry, unless the process dies or loses its connection between the commit and the
 * invalidation: then the entry is out of date for this long.
 */
const productCache = (id: string) => ({
  name: 'product',
  key: `product ${id}`,
  group: cacheGroup(id),
  freshMs: 5_000,
  staleMs: 5_000,
  missingMs: 1_000,
})

type Filter = z.infer<typeof ProductFilter>

/** A page of the catalogue. The first page of all products, which is read most often, is cached. */
export async function listProducts(query: Filter & PageRequest, context: RequestContext): Promise<Page<Product>> {
  const { search, sku, status, sort, cursor, limit } = query
  const isEverybodys = (search ?? sku ?? status ?? cursor) === undefined
  if (isEverybodys) return cached(pageCache(sort, limit), context, (sql) => findProductPage(query, everybody, sql))
  const find = (sql: Sql) => findProductPage(query, context, sql)
  // A rare match may need a scan of all products.
  return search || status ? scan(context, find) : read(context, find)
}

export const CATALOGUE = 'catalogue'

/** A change of the catalogue invalidates the page. A change of stock does not: the page shows it a moment later. */
const pageCache = (sort: string, limit: number) => ({
  name: 'products',
  key: `products ${sort} ${limit}`,
  group: CATALOGUE,
  freshMs: 1_000,
})

/** A load for the cache continues when its client disconnects, since other readers wait for it. */
const everybody = { actor: 'cache', isGone: () => false }

function findProductPage(
  query: Filter & PageRequest,
  by: Pick<RequestContext, 'actor' | 'isGone'>,
  sql: Sql,
): Promise<Page<Product>> {
  return readPage(query, by, {
    kind: `products ${query.sort}`,
    keys: z.tuple([query.sort === 'sku' || query.sort === 'name' ? z.string() : z.iso.datetime(), z.guid()]),
    fetch: (after, limit) => findPage(sql, query, after, limit),
    keysOf: (row): [string, string] => [sortKey(row, query.sort), row.id],
    toItem: (row) => fromRow(row).product,
  })
}

function sortKey(row: ProductWithStock, sort: Filter['sort']): string {
  return sort === 'sku' || sort === 'name' ? row[sort] : row.createdAt.toISOString()
}

/**
 * The page is chosen before the stock is joined, so that only its own products' levels are read. A search finds candidates in an index of
 * three-character groups (migration 0009), and then compares the whole text.
 */
function findPage(sql: Sql, { search, sku, status, sort }: Filter, after: [string, string] | undefined, limit: number) {
  const column = { createdAt: sql`created_at`, '-createdAt': sql`created_at`, sku: sql`sku`, name: sql`name` }[sort]
  const direction = sort === '-createdAt' ? sql`desc` : sql``
  const comparison = sort === '-createdAt' ? sql`<` : sql`>`
  const matches = (text: string) => sql`
    search_grams(search_text) @> search_grams(search_needle(${text})) and strpos(search_text, search_needle(${text})) > 0`
  return sql<ProductWithStock[]>`
    select ${columns(sql)}, stock."onHand", stock.reserved, stock."stockVersion"
    from (
      select * from products
      where deleted_at is null
        and ${after === undefined ? sql`true` : sql`(${column}, id) ${comparison} (${after[0]}, ${after[1]})`}
        and ${sku === undefined ? sql`true` : sql`sku = ${sku}`}
        and ${status === undefined ? sql`true` : sql`status = ${status}`}
        and ${search ? matches(search) : sql`true`}
      order by ${column} ${direction}, id ${direction} limit ${limit}
    ) as product ${stockJoin(sql)}
    order by product.${column} ${direction}, product.id ${direction}`
}
