import type { Connection } from './connection.ts'

/** Products are numbered from 1, and the id is derived from the number, so no contender has to look it up. */
export function productId(number: number): string {
  return `00000000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
}

/** The same in SQL; `number` is an expression. */
const productIdSql = (number: string) => `('00000000-0000-7000-8000-' || lpad(to_hex(${number}), 12, '0'))::uuid`
/** Ids of reservations grow with their product's number, and sort before every id that is made from now on. */
const reservationIdSql = (number: string, hold: string) =>
  `(lpad(to_hex(${number}), 8, '0') || '-000' || ${hold} || '-7000-8000-000000000000')::uuid`

/** Enough for any run, and below the schema's limit. */
export const ON_HAND = 1_000_000_000
/** Each product is received, held and confirmed four times, and held once more. */
export const MOVEMENTS_A_PRODUCT = 10
/** The number of products in a transaction, so that progress is shown every few seconds. */
const CHUNK = 50_000

/**
 * Fills an empty database with `products` products, each with a ledger of ten rows, four confirmed reservations and a held
 * one. The service itself would have left the same state, so its audit passes.
 */
export async function generateDataset(
  sql: Connection,
  products: number,
  onProgress: (done: number) => void = () => {},
): Promise<void> {
  for (let from = 1; from <= products; from += CHUNK) {
    const to = Math.min(products, from + CHUNK - 1)
    await sql.begin(async (tx) => {
      // Turns off the checks of foreign keys. The data satisfies them by construction, and the checks would take longer than everything else.
      await tx.unsafe('set local session_replication_role = replica')
      for (const statement of statements(`generate_series(${from}, ${to}) as n`)) await tx.unsafe(statement)
    })
    onProgress(to)
  }
  await sql.unsafe('vacuum analyze')
  await sql.unsafe('checkpoint')
}

const statements = (numbers: string) => [
  `insert into products (id, sku, name) select ${productIdSql('n')}, 'B-' || n, 'Bench ' || n from ${numbers}`,
  `insert into stock_levels (product_id, location, on_hand, reserved, version)
   select ${productIdSql('n')}, 'main', ${ON_HAND}, 1, ${MOVEMENTS_A_PRODUCT} from ${numbers}`,
  `insert into reservations (id, state, expires_at, created_at, updated_at)
   select ${reservationIdSql('n', 'hold')}, case hold when 5 then 'held' else 'confirmed' end,
          now() + interval '1 year', now(), now()
   from ${numbers}, generate_series(1, 5) as hold order by n, hold`,
  `insert into reservation_lines (reservation_id, line, product_id, sku, location, quantity, confirmed_quantity, held_until)
   select ${reservationIdSql('n', 'hold')}, 1, ${productIdSql('n')}, 'B-' || n, 'main', 1,
          case hold when 5 then 0 else 1 end, case hold when 5 then now() + interval '1 year' end
   from ${numbers}, generate_series(1, 5) as hold order by n, hold`,
  // Step 0 receives, odd steps hold one piece, and even steps confirm it: four pieces leave.
  `insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after,
                                reserved_after, reason, reservation_id, actor, occurred_at)
   select ${productIdSql('n')}, uuidv7(), 'main',
          case when step = 0 then 'adjustment' when step % 2 = 1 then 'reserved' else 'confirmed' end,
          case when step = 0 then ${ON_HAND} + 4 when step % 2 = 1 then 0 else -1 end,
          case when step = 0 then 0 when step % 2 = 1 then 1 else -1 end,
          ${ON_HAND} + 4 - step / 2, step % 2, case when step = 0 then 'received' end,
          case when step > 0 then ${reservationIdSql('n', '((step + 1) / 2)')} end, 'bench', now()
   from ${numbers}, generate_series(0, ${MOVEMENTS_A_PRODUCT - 1}) as step order by n, step`,
]

/** Adds a product with `onHand` pieces, which will be sold out. */
export async function addProduct(sql: Connection, number: number, onHand: number): Promise<void> {
  const id = productId(number)
  await sql.begin(async (tx) => {
    await tx`insert into products (id, sku, name) values (${id}, ${`B-${number}`}, 'Bench')`
    await tx`
      insert into stock_levels (product_id, location, on_hand, reserved, version) values (${id}, 'main', ${onHand}, 0, 1)`
    await tx`
      insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after,
                                   reserved_after, reason, actor, occurred_at)
      values (${id}, uuidv7(), 'main', 'adjustment', ${onHand}, 0, ${onHand}, 0, 'received', 'bench', now())`
  })
}
