import * as z from 'zod'
import { anyJson, lineOfText, linesOfText } from '#input'
import { Intermediate } from '#stock/events'
import { QUANTITY_MAX, Sku, StockTotals } from '#stock/schema'
import { isCurrency } from './minor-units.ts'

export { ImportPayload } from './imports/payload.ts'

const Name = lineOfText(200).min(1)
const Description = linesOfText(10_000)

export const Money = z
  .strictObject({
    amount: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).describe('In minor units: 1999 is 19.99.'),
    currency: z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code, such as EUR'),
  })
  .meta({ id: 'Money' })
export type Money = z.infer<typeof Money>

/** Attributes may contain any JSON, so their total size is limited. */
const ATTRIBUTES_BYTES_MAX = 16 * 1024
/** The limit of a patch, which may remove all attributes by name and add as many. */
const PATCH_BYTES_MAX = 2 * ATTRIBUTES_BYTES_MAX + 400

/** NUL or a lone surrogate, as JSON.stringify writes them: PostgreSQL stores them, but fails on every query into such a document. */
const UNREADABLE = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/

const AttributeRecord = z.record(z.string().min(1).max(100), anyJson)

const Attributes = ofBytes(
  ATTRIBUTES_BYTES_MAX,
  AttributeRecord.refine(
    (attributes) => Object.keys(attributes).length <= 100,
    'must not have more than 100 members',
  ).refine(
    (attributes) => !UNREADABLE.test(JSON.stringify(attributes)),
    'must not contain the character U+0000 or lone surrogates',
  ),
)

/** JSON whose size is checked before `schema` reads it. */
function ofBytes<Schema extends z.ZodType>(bytesMax: number, schema: Schema) {
  return z.preprocess((json, context) => {
    if (Buffer.byteLength(JSON.stringify(json) ?? '') <= bytesMax) return json
    context.addIssue(`must not be larger than ${bytesMax} bytes as JSON`)
    return z.NEVER
  }, schema)
}

const Status = z.enum(['active', 'archived'])
const Threshold = z.number().int().min(0).max(QUANTITY_MAX)

export const CreateProductRequest = z.strictObject({
  sku: Sku,
  name: Name,
  description: Description.nullish(),
  price: Money.nullish(),
  attributes: Attributes.default({}),
  status: Status.default('active'),
  lowStockThreshold: Threshold.nullish(),
  initialStock: z.number().int().min(0).max(QUANTITY_MAX).default(0).describe('Received at the location `main`.'),
})
export type CreateProductRequest = z.infer<typeof CreateProductRequest>

/** A JSON merge patch (RFC 7396): a null member is removed; other members replace the existing ones. */
export const UpdateProductRequest = z.strictObject({
  sku: Sku.optional(),
  name: Name.optional(),
  description: Description.nullish(),
  price: Money.partial().nullish(),
  attributes: ofBytes(PATCH_BYTES_MAX, AttributeRecord).nullish(),
  status: Status.optional(),
  lowStockThreshold: Threshold.nullish(),
})
export type UpdateProductRequest = z.infer<typeof UpdateProductRequest>

/** The schema of a product after a patch. */
export const ProductFields = CreateProductRequest.omit({ initialStock: true })
export type ProductFields = z.infer<typeof ProductFields>

export const Product = z
  .object({
    id: z.uuid(),
    sku: Sku,
    name: z.string(),
    description: z.string().nullable(),
    price: Money.nullable(),
    attributes: z.record(z.string(), anyJson),
    status: Status,
    lowStockThreshold: z.number().int().nullable(),
    version: z.number().int().positive(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    stock: StockTotals,
  })
  .meta({ id: 'Product' })
export type Product = z.infer<typeof Product>

const EventVersion = z.number().int().positive().describe('Counts the events of this product; +1 each time.')

/** `product.created` or `product.updated`: the product after the event, and its stock. */
export const ProductEvent = z
  .object({
    productId: z.uuid(),
    version: EventVersion,
    stock: StockTotals,
    intermediate: Intermediate,
    product: Product.omit({ stock: true }).meta({ id: 'ProductFields' }),
  })
  .meta({ id: 'ProductEvent' })

export const ProductDeleted = z
  .object({ productId: z.uuid(), version: EventVersion, stock: StockTotals, sku: Sku })
  .meta({ id: 'ProductDeleted' })

export const sortOrders = ['createdAt', '-createdAt', 'sku', 'name'] as const

export const ProductFilter = z.strictObject({
  search: z
    .string()
    .max(200)
    .optional()
    .describe(
      'A part of the name or the sku, in any case and any Unicode normal form; one or two characters: what either begins with.',
    ),
  sku: z.string().max(64).optional(),
  status: Status.optional(),
  sort: z.enum(sortOrders).default('createdAt'),
})

/** The format of an import's file, in addition to its media type. */
export const ImportQuery = z
  .strictObject({
    format: z
      .enum(['shopify', 'woocommerce'])
      .optional()
      .describe(
        'Reads the CSV export of that shop: its own columns, in English, with decimal prices. Needs `currency`.',
      ),
    currency: z
      .string()
      .refine(isCurrency, 'must be a currency’s code of ISO 4217, such as EUR')
      .optional()
      .describe(
        'What the prices of a shop’s export are in, by its code of ISO 4217, such as `EUR`; the file does not tell.',
      ),
  })
  .refine(({ format, currency }) => format === undefined || currency !== undefined, {
    path: ['currency'],
    message: 'is missing: the prices of a shop’s export are in none',
  })
  .refine(({ format, currency }) => format !== undefined || currency === undefined, {
    path: ['currency'],
    message: 'goes with a format alone: other files have it in the column priceCurrency',
  })

/** The result of an import's job. */
export interface ImportResult {
  total: number
  created: number
  updated: number
  failed: number
  /** The first 1,000 errors, by the line where the row begins. */
  errors: Array<{ line: number; code: string; message: string }>
  /** The number of a shop's columns that are not imported. */
  ignoredColumns?: number | undefined
}
