import { type RequestContext, type Sql, StaleRead } from '#database'
import { ServiceError } from '#errors'
import { newId } from '#ids'
import { type LockedStock, lockStock, stockOfNewProducts } from '#stock'
import { announceCreated, announceUpdated } from '../announce.ts'
import { changesCatalogue } from '../catalogue.ts'
import { type EditableFields, fieldsOf, patched, withoutStock } from '../product-fields.ts'
import { columns, type ProductRow } from '../product-rows.ts'
import type { CreateProductRequest, UpdateProductRequest } from '../schema.ts'

/** A product to add, or the changes of the product that has its sku. */
export interface UpsertRow {
  line: number
  product: CreateProductRequest
  /** The members that the row has, without defaults. */
  patch: UpdateProductRequest
}

export interface Upserted {
  created: number
  updated: number
  refused: Array<{ line: number; error: ServiceError }>
}

/** A product that is about to be written to the database. */
interface Draft {
  id: string
  isNew: boolean
  isChanged: boolean
  fields: EditableFields
  initialStock: number
}

/**
 * Adds or changes a product for each row, as if one row came after the other: the first row with a new sku adds the product with its initial stock;
 * any other row is a merge patch that leaves the stock unchanged. A patch that changes nothing counts as an update, but writes nothing. All rows
 * are decided in memory, under the locks of existing products, then written with one statement per table.
 */
export async function upsertProducts(tx: Sql, context: RequestContext, rows: readonly UpsertRow[]): Promise<Upserted> {
  const { stock, drafts } = await lockProducts(tx, context, new Set(rows.map(({ product }) => product.sku)))
  const upserted = decide(rows, drafts)
  const added = [...drafts.values()].filter(({ isNew }) => isNew)
  const changed = [...drafts.values()].filter(({ isNew, isChanged }) => !isNew && isChanged)
  await change(tx, context, stock, changed)
  await add(tx, context, stock, added)
  changesCatalogue(tx)
  return upserted
}

/** Locks the products that have these skus. A product may be deleted or get another sku between look-up and lock: then the transaction runs again. */
async function lockProducts(
  tx: Sql,
  context: RequestContext,
  skus: ReadonlySet<string>,
): Promise<{ stock: LockedStock; drafts: Map<string, Draft> }> {
  const found = await tx<Array<{ id: string }>>`
    select id from products where sku = any(${[...skus]}::text[]) and deleted_at is null`
  const ids = found.map(({ id }) => id)
  const stock = await lockStock(tx, context, ids)
  const rows = await tx<ProductRow[]>`
    select ${columns(tx)} from products as product where id = any(${ids}::uuid[])`
  if (rows.some(({ id, sku }) => !stock.has(id) || !skus.has(sku))) throw new StaleRead('a product lost its sku')
  const toDraft = (row: ProductRow): Draft => {
    const fields = fieldsOf(withoutStock(row))
    return { id: row.id, isNew: false, isChanged: false, fields, initialStock: 0 }
  }
  return { stock, drafts: new Map(rows.map((row) => [row.sku, toDraft(row)])) }
}

/** Applies the rows to the drafts, in their order. */
function decide(rows: readonly UpsertRow[], drafts: Map<string, Draft>): Upserted {
  const upserted: Upserted = { created: 0, updated: 0, refused: [] }
  for (const { line, product, patch } of rows) {
    const draft = drafts.get(product.sku)
    if (!draft) {
      const { initialStock } = product
      drafts.set(product.sku, { id: newId(), isNew: true, isChanged: true, fields: fieldsOf(product), initialStock })
      upserted.created++
      continue
    }
    try {
      const fields = patched(draft.fields, patch)
      if (fields) Object.assign(draft, { fields, isChanged: true })
      upserted.updated++
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      upserted.refused.push({ line, error })
    }
  }
  return upserted
}

/** The ids are given twice, so that any plan reads only these products. */
async function change(tx: Sql, context: RequestContext, stock: LockedStock, drafts: readonly Draft[]): Promise<void> {
  const rows = await tx<ProductRow[]>`
    update products as product
    set name = draft.name, description = draft.description, price_amount = draft.price_amount,
        price_currency = draft.price_currency, attributes = draft.attributes, status = draft.status,
        low_stock_threshold = draft.low_stock_threshold, version = product.version + 1, updated_at = now()
    from ${draftRows(tx, drafts)}
    where product.id = draft.id and product.id = any(${drafts.map(({ id }) => id)}::uuid[])
    returning ${columns(tx)}`
  for (const row of rows) announceUpdated(stock, context, row)
  await stock.save()
}

/**
 * Adds products with their stock levels at `main`, in the order of their skus, so that two imports of the same skus wait for each other instead of
 * deadlocking. If another transaction has taken a sku since the look-up, the transaction runs again.
 */
async function add(tx: Sql, context: RequestContext, known: LockedStock, drafts: readonly Draft[]): Promise<void> {
  if (drafts.length === 0) return
  const rows = await tx<ProductRow[]>`
    insert into products as product (id, sku, name, description, price_amount, price_currency, attributes, status,
                                     low_stock_threshold)
    select id, sku, name, description, price_amount, price_currency, attributes, status, low_stock_threshold
    from ${draftRows(tx, drafts)} order by sku collate "C"
    on conflict (sku) where deleted_at is null do nothing returning ${columns(tx)}`
  if (rows.length < drafts.length) throw new StaleRead('a sku was taken meanwhile')
  const stock = stockOfNewProducts(tx, known, rows)
  const initialStock = new Map(drafts.map((draft) => [draft.id, draft.initialStock]))
  for (const row of rows) announceCreated(stock, context, row, initialStock.get(row.id) ?? 0)
  await stock.save()
}

/** Drafts as rows, in one JSON document: with a literal for each column, all texts would be escaped once more. */
function draftRows(tx: Sql, drafts: readonly Draft[]) {
  const rows = drafts.map(({ id, fields: { price, lowStockThreshold, ...fields } }) => ({
    ...fields,
    id,
    price_amount: price?.amount,
    price_currency: price?.currency,
    low_stock_threshold: lowStockThreshold,
  }))
  return tx`json_to_recordset(${JSON.stringify(rows)}::text::json) as draft (
    id uuid, sku text, name text, description text, price_amount bigint, price_currency text, attributes json, status text,
    low_stock_threshold integer
  )`
}
