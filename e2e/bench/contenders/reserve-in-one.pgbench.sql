-- The same as reserve.pgbench.sql with all that is written in one statement: the row is locked for fewer round trips, which is
-- the least that one transaction a reservation can do. Applications are seldom written so.
\set number random(:first, :last)
begin;
select product_id, on_hand - reserved as available
from stock_levels
where product_id = ('00000000-0000-7000-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid and location = 'main'
for update \gset
\if :available > 0
with level as (
  update stock_levels set reserved = reserved + 1, version = version + 1
  where product_id = :product_id and location = 'main' returning *
), hold as (
  insert into reservations (id, state, expires_at, created_at, updated_at)
  values (uuidv7(), 'held', now() + interval '15 minutes', now(), now()) returning id, expires_at
), line as (
  insert into reservation_lines (reservation_id, line, product_id, sku, location, quantity, held_until)
  select hold.id, 1, level.product_id, 'B', 'main', 1, hold.expires_at from hold, level
), movement as (
  insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after, reserved_after,
                               reservation_id, actor, occurred_at)
  select level.product_id, uuidv7(), 'main', 'reserved', 0, 1, level.on_hand, level.reserved, hold.id, 'pgbench', now()
  from hold, level
)
insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
select uuidv7(), 'stock-events', 'stock.reserved', level.product_id, level.version,
       json_build_object('productId', level.product_id, 'version', level.version, 'location', 'main', 'onHandDelta', 0,
                         'reservedDelta', 1, 'stock', json_build_object('onHand', level.on_hand, 'reserved', level.reserved,
                         'available', level.on_hand - level.reserved), 'reservationId', hold.id),
       now(), '00-00000000000000000000000000000001-0000000000000001-01'
from hold, level;
\endif
commit;
