import { createApiKey } from '#access'
import { type RequestContext, systemContext } from '#database'
import { createProduct } from '#products'
import { CreateProductRequest, type Product } from '#products/schema'
import { adjustStock, createLocation, reserve } from '#stock'
import { type Reservation, ReserveRequest } from '#stock/schema'
import { sql } from './engines/database.ts'

const context = (): RequestContext => systemContext('function:test')
let made = 0

/** Makes a product, with a new sku unless one is given, and with its stock at `main`. */
export async function newProduct(
  request: { sku?: string; name?: string; attributes?: object; [member: string]: unknown } = {},
): Promise<Product> {
  made++
  const complete = CreateProductRequest.parse({ sku: `SKU-${made}`, name: `Product ${made}`, ...request })
  return (await createProduct(complete, context())).product
}

/** Makes many products, ten at a time: on a busy machine, the service refuses requests that have waited long for a database connection. */
export async function newProducts(count: number, request: Parameters<typeof newProduct>[0] = {}): Promise<Product[]> {
  const products: Product[] = []
  while (products.length < count) {
    const some = Array.from({ length: Math.min(10, count - products.length) }, () => newProduct(request))
    products.push(...(await Promise.all(some)))
  }
  return products
}

/** Puts stock at a location, which is created with `priority` (after `main` by default) if it does not exist. */
export async function stockAt(productId: string, location: string, quantity: number, priority = 10): Promise<void> {
  const [known] = await sql`select 1 from locations where code = ${location}`
  if (!known) await createLocation({ code: location, name: location, priority }, context())
  if (quantity !== 0) await adjustStock(productId, { quantity, reason: 'received', location }, context())
}

/** Makes a reservation, held for 15 minutes by default. */
export function hold(
  lines: Array<{ productId: string; quantity: number; location?: string }>,
  request: { reference?: string; holder?: string; ttlSeconds?: number } = {},
): Promise<Reservation> {
  return reserve(ReserveRequest.parse({ lines, ...request }), context())
}

/** Moves the deadlines of reservations into the past, as if no sweep had run since. */
export async function expire(...ids: string[]): Promise<void> {
  await sql`
    with overdue as (
      update reservations set expires_at = now() - interval '1 minute' where id = any(${ids}::uuid[]) and state = 'held'
      returning id, expires_at
    )
    update reservation_lines set held_until = overdue.expires_at from overdue where reservation_id = overdue.id`
}

/** Makes an API key with only these scopes. */
export async function newKey(...scopes: Parameters<typeof createApiKey>[0]['scopes']): Promise<string> {
  const { key = '' } = await createApiKey({ name: 'test', scopes }, context())
  return key
}
