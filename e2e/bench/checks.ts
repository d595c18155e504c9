import { auditStock } from '#stock'
import { type BenchDatabase, useDatabase } from './bench-cluster.ts'
import { productId } from './dataset.ts'

/**
 * Counts the ids that are not in the database: ids of movements, or of reservations in this state and with their line. The audit checks the
 * ledger and balances.
 */
export async function countMissing(
  { sql }: BenchDatabase,
  ids: string[],
  state: 'held' | 'confirmed' | 'moved',
): Promise<number> {
  if (state === 'moved') {
    const [row] = await sql<[{ missing: number }]>`
      select count(*)::int as missing from json_array_elements_text(${JSON.stringify(ids)}::text::json) as acknowledged (id)
      left join stock_movements as movement on movement.id = acknowledged.id::uuid
      where movement.id is null`
    return row.missing
  }
  const [row] = await sql<[{ missing: number }]>`
    select count(*)::int as missing
    from json_array_elements_text(${JSON.stringify(ids)}::text::json) as acknowledged (id)
    where not exists (
      select from reservations as reservation
      join reservation_lines as line on line.reservation_id = reservation.id
      where reservation.id = acknowledged.id::uuid and reservation.state = ${state}
    )`
  return row.missing
}

/** Counts the ledger rows of an actor. */
export async function countByActor({ sql }: BenchDatabase, actor: string): Promise<number> {
  const [row] = await sql<
    [{ count: number }]
  >`select count(*)::int as count from stock_movements where actor = ${actor}`
  return row.count
}

/** Counts the products whose balance differs from their ledger or their holds, by the service's own audit. Nothing else may run meanwhile. */
export async function countInconsistent({ url }: BenchDatabase): Promise<number> {
  await useDatabase(url)
  const audit = await auditStock()
  return audit.discrepancies.length
}

/** Counts the pieces of a product in held reservations. */
export async function countSold({ sql }: BenchDatabase, number: number): Promise<number> {
  const [row] = await sql<[{ sold: number }]>`
    select coalesce(sum(line.quantity), 0)::int as sold
    from reservation_lines as line join reservations as reservation on reservation.id = line.reservation_id
    where reservation.state = 'held' and line.product_id = ${productId(number)}`
  return row.sold
}
