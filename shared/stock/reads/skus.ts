import type { Sql } from '#database'
import { notFound } from '#errors'

/** The ids of products by sku, without deleted products. */
export async function findSkus(
  tx: Sql,
  lines: ReadonlyArray<{ sku?: string | undefined }>,
): Promise<Map<string, string>> {
  const skus = [...new Set(lines.flatMap(({ sku }) => sku ?? []))]
  if (skus.length === 0) return new Map()
  const rows = await tx<Array<{ id: string; sku: string }>>`
    select id, sku from products where sku = any(${skus}::text[]) and deleted_at is null`
  return new Map(rows.map(({ id, sku }) => [sku, id]))
}

/** The id of the product that a line names. `lockStock` checks an id, not this function. Throws `product_not_found` for an unknown sku. */
export function productIdOf(
  { productId, sku = '' }: { productId?: string | undefined; sku?: string | undefined },
  idOfSku: ReadonlyMap<string, string>,
): string {
  const id = productId ?? idOfSku.get(sku)
  if (id === undefined) throw notFound('product', sku, 'sku')
  return id
}
