import { ServiceError } from '#errors'
import { merge } from './merge-patch.ts'
import { type ProductRow, toProduct } from './product-rows.ts'
import { type Product, ProductFields, type UpdateProductRequest } from './schema.ts'

/** The members of a product that can be edited. A member that the product does not have is null, or empty. */
export type EditableFields = Pick<
  Product,
  'description' | 'price' | 'lowStockThreshold' | 'attributes' | 'sku' | 'name' | 'status'
>

/** Always in the same order, so that equal fields have equal JSON. */
export function fieldsOf(fields: ProductFields): EditableFields {
  const { description = null, price = null, lowStockThreshold = null, attributes, sku, name, status } = fields
  return { description, price, lowStockThreshold, attributes, sku, name, status }
}

/** The fields after a JSON merge patch; undefined if it changes none. Throws `validation_failed` if it leaves an invalid product. */
export function patched(before: EditableFields, patch: UpdateProductRequest): EditableFields | undefined {
  // Members that the patch removes become null, or empty, again. The members keep the order of `before`.
  const after = { description: null, price: null, lowStockThreshold: null, attributes: {}, ...merge(before, patch) }
  const parsed = ProductFields.safeParse(after)
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }))
    throw new ServiceError('validation_failed', 'The product would not be valid with these changes.', { issues })
  }
  return JSON.stringify(after) === JSON.stringify(before) ? undefined : fieldsOf(parsed.data)
}

/** The product as it is in its events. */
export function withoutStock(row: ProductRow) {
  const { stock: _, ...product } = toProduct(row, { onHand: 0, reserved: 0, available: 0 })
  return product
}
