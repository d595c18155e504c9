import type { Sql } from 'postgres'

/**
 * Makes one reservation in one transaction, as it is usually written: lock the row, check, write, commit, one statement after
 * the other. It writes the same rows as reserve-stock. Returns undefined if there is too little stock.
 */
export async function reserveAlone(sql: Sql, productId: string, quantity: number, actor: string) {
  return sql.begin(async (tx): Promise<{ reservationId: string } | undefined> => {
    const [level] = await tx<Array<{ on_hand: number; reserved: number; version: string }>>`
      select on_hand, reserved, version from stock_levels
      where product_id = ${productId} and location = 'main' for update`
    if (!level || level.on_hand - level.reserved < quantity) return undefined
    const reserved = level.reserved + quantity
    const version = Number(level.version) + 1
    await tx`
      update stock_levels set reserved = ${reserved}, version = ${version}
      where product_id = ${productId} and location = 'main'`
    const [hold] = await tx<[{ id: string; expires_at: Date }]>`
      insert into reservations (id, state, expires_at, created_at, updated_at)
      values (uuidv7(), 'held', now() + interval '15 minutes', now(), now()) returning id, expires_at`
    await tx`
      insert into reservation_lines (reservation_id, line, product_id, sku, location, quantity, held_until)
      values (${hold.id}, 1, ${productId}, 'B', 'main', ${quantity}, ${hold.expires_at})`
    await tx`
      insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after,
                                   reserved_after, reservation_id, actor, occurred_at)
      values (${productId}, uuidv7(), 'main', 'reserved', 0, ${quantity}, ${level.on_hand}, ${reserved}, ${hold.id},
              ${actor}, now())`
    const stock = { onHand: level.on_hand, reserved, available: level.on_hand - reserved }
    const change = { location: 'main', onHandDelta: 0, reservedDelta: quantity, stock, reservationId: hold.id }
    await tx`
      insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
      values (uuidv7(), 'stock-events', 'stock.reserved', ${productId}, ${version},
              ${JSON.stringify({ productId, version, ...change })}::text::json, now(),
              '00-00000000000000000000000000000001-0000000000000001-01')`
    return { reservationId: hold.id }
  })
}
