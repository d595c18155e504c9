import { invalidate } from '#cache'
import { afterCommit, type RequestContext, requireScope, type Sql, transaction, violatedConstraint } from '#database'
import { ServiceError } from '#errors'
import { newId } from '#ids'
import { lockStock, stockTransaction, totalsOf } from '#stock'
import { announceCreated, announceUpdated } from './announce.ts'
import { requireVersion } from './entity-tag.ts'
import { fieldsOf, patched, withoutStock } from './product-fields.ts'
import { columns, type ProductRow, toProduct, type VersionedProduct } from './product-rows.ts'
import { CATALOGUE } from './read-products.ts'
import type { CreateProductRequest, ProductFields, UpdateProductRequest } from './schema.ts'

/** Adds a product to the catalogue and receives its initial stock. Throws `sku_taken`, or `forbidden` for stock without the scope for it. */
export function createProduct(request: CreateProductRequest, context: RequestContext): Promise<VersionedProduct> {
  const { initialStock, ...fields } = request
  if (initialStock > 0) requireScope(context, 'stock:write', 'initialStock above 0')
  return transaction(context, async (tx) => {
    const id = newId()
    const row = await insertProduct(tx, id, fields)
    const stock = await lockStock(tx, context, [id])
    announceCreated(stock, context, row, initialStock)
    await stock.save()
    changesCatalogue(tx)
    const locked = stock.product(id)
    return { product: toProduct(row, totalsOf(locked)), stockVersion: locked.version }
  })
}

/**
 * Applies a JSON merge patch. `matches` checks that the product's version is the one that the client knows. Throws `product_not_found`,
 * `version_mismatch`, `sku_taken`, or `validation_failed` for a patch that leaves an invalid product.
 */
export function updateProduct(
  id: string,
  patch: UpdateProductRequest,
  matches: (version: number) => boolean,
  context: RequestContext,
): Promise<VersionedProduct> {
  return transaction(context, async (tx) => {
    const stock = await lockStock(tx, context, [id])
    const locked = stock.product(id)
    const [row] = await tx<
      [ProductRow]
    >`select ${columns(tx)} from products as product where id = ${id} for no key update`
    requireVersion(row.version, matches)
    const fields = patched(fieldsOf(withoutStock(row)), patch)
    const updated = fields ? await writeProduct(tx, id, fields) : row
    if (fields) announceUpdated(stock, context, updated)
    await stock.save()
    changesCatalogue(tx)
    return { product: toProduct(updated, totalsOf(locked)), stockVersion: locked.version }
  })
}

/**
 * Removes a product from the catalogue; its ledger stays. `matches` checks as in `updateProduct`.
 * Throws `product_not_found`, `version_mismatch`, `has_held_reservations`.
 */
export function deleteProduct(
  id: string,
  matches: (version: number) => boolean,
  context: RequestContext,
): Promise<void> {
  return stockTransaction(context, async (tx, lock) => {
    const stock = await lock([id])
    const { sku } = stock.product(id)
    const [row] = await tx<[{ version: number }]>`select version from products where id = ${id}`
    requireVersion(row.version, matches)
    const holds = await tx`
      select 1 from reservation_lines
      where product_id = ${id} and held_until is not null and reservation_id <> all(${stock.expiredIds}::uuid[]) limit 1`
    if (holds.length > 0) {
      throw new ServiceError(
        'has_held_reservations',
        'Reservations hold stock of this product. Release or confirm them first.',
      )
    }
    stock.announce(context, 'product.deleted', id, { productId: id, sku })
    await stock.save()
    await tx`update products set deleted_at = now() where id = ${id}`
    changesCatalogue(tx)
  })
}

/** After the commit of `tx`, the cache serves no older page of the catalogue. */
export function changesCatalogue(tx: Sql): void {
  afterCommit(tx, (token) => invalidate([CATALOGUE], token))
}

/** Adds the product with its stock level at `main`. The row of this level is the product's lock. */
async function insertProduct(tx: Sql, id: string, fields: ProductFields): Promise<ProductRow> {
  const { sku, name, description = null, price, attributes, status, lowStockThreshold = null } = fields
  return refusingTakenSku(sku, async () => {
    const [[row]] = await Promise.all([
      tx<[ProductRow]>`
        insert into products as product (id, sku, name, description, price_amount, price_currency, attributes, status,
                                         low_stock_threshold)
        values (${id}, ${sku}, ${name}, ${description}, ${price?.amount ?? null}, ${price?.currency ?? null},
                ${JSON.stringify(attributes)}::text::json, ${status}, ${lowStockThreshold})
        returning ${columns(tx)}`,
      tx`insert into stock_levels (product_id, location) values (${id}, 'main')`,
    ])
    return row
  })
}

function writeProduct(tx: Sql, id: string, fields: ProductFields): Promise<ProductRow> {
  const { sku, name, description = null, price, attributes, status, lowStockThreshold = null } = fields
  return refusingTakenSku(sku, async () => {
    const [row] = await tx<[ProductRow]>`
      update products as product
      set sku = ${sku}, name = ${name}, description = ${description}, price_amount = ${price?.amount ?? null},
          price_currency = ${price?.currency ?? null}, attributes = ${JSON.stringify(attributes)}::text::json,
          status = ${status}, low_stock_threshold = ${lowStockThreshold}, version = product.version + 1, updated_at = now()
      where id = ${id} returning ${columns(tx)}`
    return row
  })
}

async function refusingTakenSku<Result>(sku: string, write: () => Promise<Result>): Promise<Result> {
  try {
    return await write()
  } catch (error) {
    if (violatedConstraint(error) !== 'products_sku') throw error
    throw new ServiceError('sku_taken', `There is a product with the sku '${sku}' already.`)
  }
}
