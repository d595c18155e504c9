import { type Sql, snapshot } from '#database'

/** Rows per chunk: about 150 kB of JSON. */
const CHUNK_MAX = 1_000

/** A product's stock over all locations, as it is exported. */
interface ExportedStock {
  productId: string
  sku: string
  onHand: number
  reserved: number
  available: number
}

const columns = ['productId', 'sku', 'onHand', 'reserved', 'available'] satisfies Array<keyof ExportedStock>

/**
 * Saves the stock of every product in the catalogue at one moment, chunk by chunk, with the progress. Stock that an overdue hold still reserves
 * counts as available. Returns the columns and the number of rows.
 */
export function exportStock(
  onChunk: (rows: ExportedStock[], done: number, total: number) => Promise<void>,
): Promise<{ columns: string[]; rows: number }> {
  return snapshot(async (sql) => {
    const total = await countProducts(sql)
    let done = 0
    // Bounded: the snapshot's products don't change, and each chunk covers some of them.
    for (let rows = await nextChunk(sql, undefined); rows.length > 0; rows = await nextChunk(sql, rows.at(-1))) {
      done += rows.length
      await onChunk(rows, done, total)
    }
    return { columns, rows: done }
  })
}

async function countProducts(sql: Sql): Promise<number> {
  const [{ count }] = await sql<[{ count: number }]>`select count(*) from products where deleted_at is null`
  return count
}

function nextChunk(sql: Sql, after: ExportedStock | undefined) {
  return sql<ExportedStock[]>`
    select id as "productId", sku, on_hand as "onHand", reserved, on_hand - reserved as available
    from (
      select product.id, product.sku,
        (select sum(on_hand)::bigint from stock_levels where product_id = product.id) as on_hand,
        (select sum(reserved)::bigint from stock_levels where product_id = product.id) - coalesce(
          (select sum(quantity)::bigint from reservation_lines where product_id = product.id and held_until <= now()), 0
        ) as reserved
      from products as product
      where deleted_at is null and ${after === undefined ? sql`true` : sql`id > ${after.productId}`}
      order by id limit ${CHUNK_MAX}
    ) as stock
    order by id`
}
