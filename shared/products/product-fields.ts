import { ServiceError } from '#errors'
import { merge } from './merge-patch.ts'
import { type ProductRow, toProduct } from './product-rows.ts'
import { type Product, ProductFields, type UpdateProductRequest } from './schema.ts'

/** What of a product can be edited: null, or empty, where it has none. */
export type EditableFields = Pick<
  Product,
  'description' | 'price' | 'lowStockThreshold' | 'attributes' | 'sku' | 'name' | 'status'
>

/** Always in this order, so that equal fields have equal JSON. */
export function fieldsOf(fields: ProductFields): EditableFields {
  const { description = null, price = null, lowStockThreshold = null, attributes, sku, name, status } = fields
  return { description, price, lowStockThreshold, attributes, sku, name, status }
}

/** The fields after a JSON merge patch; undefined if it changes none of them. Throws `validation_failed` if it leaves nonsense. */
export function patched(before: EditableFields, patch: UpdateProductRequest): EditableFields | undefined {
  // What the patch takes away is null again, or empty; the order of the members is that of `before`.
  const after = { description: null, price: null, lowStockThreshold: null, attributes: {}, ...merge(before, patch) }
  const parsed = ProductFields.safeParse(after)
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }))
    throw new ServiceError('validation_failed', 'The product would not be valid with these changes.', { issues })
  }
  return JSON.stringify(after) === JSON.stringify(before) ? undefined : fieldsOf(parsed.data)
}

/** The product as its events tell of it. */
export function withoutStock(row: ProductRow) {
  const { stock: _, ...product } = toProduct(row, { onHand: 0, reserved: 0, available: 0 })
  return product
}
