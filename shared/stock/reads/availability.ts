import type * as z from 'zod'
import { type RequestContext, read, type Sql } from '#database'
import { notFound } from '#errors'
import { isId } from '#ids'
import type { AvailabilityRequest, AvailabilityResult } from '../schema.ts'

type Request = z.infer<typeof AvailabilityRequest>
type Item = Request['items'][number]

/**
 * The stock of each requested product, at one moment: one statement reads all of it. Stock that an overdue hold still reserves counts as available.
 * `notFound` has the ids and skus that name no product. Throws `location_not_found`.
 */
export async function queryAvailability({ items }: Request, context: RequestContext): Promise<AvailabilityResult> {
  const { products, locations } = await read(
    context,
    (sql) => findStock(sql, items),
    (found) => items.some((item) => !found.products.has(nameOf(item)) || !isKnown(item, found.locations)),
  )
  const answer: AvailabilityResult = { items: [], notFound: [] }
  for (const item of items) {
    if (!isKnown(item, locations)) throw notFound('location', item.location ?? '', 'code')
    const product = products.get(nameOf(item))
    if (product) answer.items.push(availabilityOf(product, item))
    else answer.notFound.push((item.productId ?? item.sku ?? '').toWellFormed())
  }
  return answer
}

/** The name by which an item refers to its product. A sku may look like an id. */
const nameOf = ({ productId, sku }: Item) => (productId === undefined ? `sku ${sku}` : productId.toLowerCase())

const isKnown = ({ location }: Item, locations: ReadonlySet<string>) =>
  location === undefined || locations.has(location)

interface Product {
  id: string
  sku: string
  /** The most that the product's terms allow a reservation to hold. */
  heldMax: number
  version: number
  levels: Array<{ location: string; onHand: number; reserved: number }>
}

function availabilityOf(product: Product, { location, quantity }: Item): AvailabilityResult['items'][number] {
  const levels = location === undefined ? product.levels : product.levels.filter((level) => level.location === location)
  let [onHand, reserved] = [0, 0]
  for (const level of levels) {
    onHand += level.onHand
    reserved += level.reserved
  }
  return {
    productId: product.id,
    sku: product.sku,
    ...(location !== undefined && { location }),
    onHand,
    reserved,
    available: onHand - reserved,
    version: product.version,
    ...(quantity !== undefined && { fulfillable: quantity <= product.heldMax && canServe(levels, quantity) }),
  }
}

/** Whether one location has the whole quantity: a line is never split between locations. */
function canServe(levels: Product['levels'], quantity: number): boolean {
  return levels.some(({ onHand, reserved }) => onHand - reserved >= quantity)
}

interface StockRow {
  products: string | null
  levels: string | null
  overdue: string | null
  locations: string[]
}

/**
 * Reads the products, by `nameOf`, and which of the locations exist. It finds rows with arrays instead of joins, so each index is read once
 * whatever the planner estimates. The arrays are sub-selects, so one plan serves any number of items, and no request is planned anew. Each row is
 * returned as text with spaces between its values: for 500 products, the driver would take longer to read columns, and the server longer to make
 * JSON, than it takes to find the rows. No value contains a space or a comma.
 */
async function findStock(sql: Sql, items: readonly Item[]) {
  const ids = items.flatMap(({ productId }) => (productId !== undefined && isId(productId) ? productId : []))
  const skus = items.flatMap(({ sku }) => sku ?? [])
  const codes = [...new Set(items.flatMap(({ location }) => location ?? []))]
  const [row] = await sql<[StockRow]>`
    with product as materialized (
      select id, sku, status, limit_per_reservation, limit_per_holder from products
      where id = any(array(select unnest(${ids}::uuid[]))) and deleted_at is null
      union all
      select id, sku, status, limit_per_reservation, limit_per_holder from products
      where sku = any(array(select unnest(${skus}::text[]))) and deleted_at is null
    )
    select (
      select string_agg(concat_ws(' ', id, sku,
        case status when 'archived' then 0 else least(limit_per_reservation, limit_per_holder) end), ',')
      from product
    ) as products, (
      select string_agg(concat_ws(' ', product_id, location, on_hand, reserved, version), ',') from stock_levels
      where product_id = any(array(select id from product))
    ) as levels, (
      select string_agg(concat_ws(' ', product_id, location, quantity), ',') from (
        select product_id, location, sum(quantity) as quantity from reservation_lines
        where product_id = any(array(select id from product)) and held_until <= now() group by product_id, location
      ) as line
    ) as overdue,
    array(select code from locations where code = any(${codes}::text[])) as locations`
  return { products: toProducts(row), locations: new Set(row.locations) }
}

function toProducts({ products, levels, overdue }: StockRow): Map<string, Product> {
  const found = new Map<string, Product>()
  for (const [id = '', sku = '', heldMax = Infinity] of rowsOf(products)) {
    const product = { id, sku, heldMax: Number(heldMax), version: 0, levels: [] }
    found.set(id, product).set(`sku ${sku}`, product)
  }
  for (const [productId = '', location = '', onHand, reserved, version] of rowsOf(levels)) {
    const product = found.get(productId)
    if (!product) continue
    // Only the row at 'main' carries the version.
    product.version += Number(version)
    product.levels.push({ location, onHand: Number(onHand), reserved: Number(reserved) })
  }
  for (const [productId = '', location, quantity] of rowsOf(overdue)) {
    const level = found.get(productId)?.levels.find((each) => each.location === location)
    if (level) level.reserved -= Number(quantity)
  }
  return found
}

const rowsOf = (text: string | null) =>
  (text ?? '').split(',', text === null ? 0 : undefined).map((row) => row.split(' '))
