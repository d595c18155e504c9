import * as z from 'zod'
import { type Page, type PageRequest, type RequestContext, read, readPage, type Sql } from '#database'
import { requireKnownProduct } from '../reads/stock.ts'
import type { Movement } from '../schema.ts'

export type NewMovement = Movement

/** Appends to the ledger, in the given order. */
export async function insertMovements(tx: Sql, movements: readonly NewMovement[]): Promise<void> {
  if (movements.length === 0) return
  await tx`
    insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after,
                                 reserved_after, reason, reference, note, reservation_id, actor, occurred_at)
    select product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after,
           reserved_after, reason, reference, note, reservation_id, actor, occurred_at
    from unnest(
      ${movements.map((movement) => movement.productId)}::uuid[],
      ${movements.map((movement) => movement.id)}::uuid[],
      ${movements.map((movement) => movement.location)}::text[],
      ${movements.map((movement) => movement.type)}::text[],
      ${movements.map((movement) => movement.onHandDelta)}::int[],
      ${movements.map((movement) => movement.reservedDelta)}::int[],
      ${movements.map((movement) => movement.onHandAfter)}::int[],
      ${movements.map((movement) => movement.reservedAfter)}::int[],
      ${movements.map((movement) => movement.reason)}::text[],
      ${movements.map((movement) => movement.reference)}::text[],
      ${movements.map((movement) => movement.note)}::text[],
      ${movements.map((movement) => movement.reservationId)}::uuid[],
      ${movements.map((movement) => movement.actor)}::text[],
      ${movements.map((movement) => movement.occurredAt)}::timestamptz[]
    ) with ordinality as movement (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after,
                                   reserved_after, reason, reference, note, reservation_id, actor, occurred_at, line)
    order by movement.line`
}

interface MovementRow extends Omit<Movement, 'occurredAt'> {
  sequence: number
  occurredAt: Date
}

/** A product's ledger, even of a deleted product: newest first, in the order in which the balances changed. Throws `product_not_found`. */
export async function listMovements(
  productId: string,
  page: PageRequest,
  context: RequestContext,
): Promise<Page<Movement>> {
  await requireKnownProduct(productId, context)
  return readPage(page, context, {
    kind: `movements ${productId}`,
    keys: z.tuple([z.number().int()]),
    fetch: (after, limit) =>
      read(
        context,
        (sql) => sql<MovementRow[]>`
          select sequence, id, product_id as "productId", location, type, on_hand_delta as "onHandDelta",
                 reserved_delta as "reservedDelta", on_hand_after as "onHandAfter", reserved_after as "reservedAfter",
                 reason, reference, note, reservation_id as "reservationId", actor, occurred_at as "occurredAt"
          from stock_movements
          where product_id = ${productId} and ${after ? sql`sequence < ${after[0]}` : sql`true`}
          order by sequence desc limit ${limit}`,
      ),
    keysOf: (row): [number] => [row.sequence],
    toItem: ({ sequence: _, ...row }) => ({ ...row, occurredAt: row.occurredAt.toISOString() }),
  })
}
