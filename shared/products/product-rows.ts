import type { Sql } from '#database'
import type { StockTotals } from '#stock/schema'
import type { Product } from './schema.ts'

export interface ProductRow {
  id: string
  sku: string
  name: string
  description: string | null
  priceAmount: number | null
  priceCurrency: string | null
  attributes: Product['attributes']
  status: Product['status']
  lowStockThreshold: number | null
  version: number
  createdAt: Date
  updatedAt: Date
}

/** A product's row with the sums over its stock levels, and the number of its last event. */
export interface ProductWithStock extends ProductRow {
  onHand: number
  reserved: number
  stockVersion: number
}

/** A product, with the version of its stock, which its entity tag needs. */
export interface VersionedProduct {
  product: Product
  stockVersion: number
}

export function columns(sql: Sql) {
  return sql`product.id, product.sku, product.name, product.description, product.price_amount as "priceAmount",
             product.price_currency as "priceCurrency", product.attributes, product.status,
             product.low_stock_threshold as "lowStockThreshold", product.version,
             product.created_at as "createdAt", product.updated_at as "updatedAt"`
}

/** The stock of each row of a query's `product`: one look-up by the primary key of its few levels. */
export function stockJoin(sql: Sql) {
  return sql`cross join lateral (
    select sum(on_hand)::bigint as "onHand", sum(reserved)::bigint as reserved, max(version) as "stockVersion"
    from stock_levels where product_id = product.id
  ) as stock`
}

/** The products among `ids` that exist. */
export function findProducts(sql: Sql, ids: string[]) {
  return sql<ProductWithStock[]>`
    select ${columns(sql)}, stock."onHand", stock.reserved, stock."stockVersion"
    from products as product ${stockJoin(sql)}
    where product.id = any(${ids}::uuid[]) and product.deleted_at is null`
}

export function fromRow(row: ProductWithStock): VersionedProduct {
  const { onHand, reserved, stockVersion } = row
  return { product: toProduct(row, { onHand, reserved, available: onHand - reserved }), stockVersion }
}

export function toProduct(row: ProductRow, stock: StockTotals): Product {
  const { priceAmount, priceCurrency } = row
  return {
    id: row.id,
    sku: row.sku,
    name: row.name,
    description: row.description,
    price: priceAmount === null || priceCurrency === null ? null : { amount: priceAmount, currency: priceCurrency },
    attributes: row.attributes,
    status: row.status,
    lowStockThreshold: row.lowStockThreshold,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
    stock,
  }
}
