-- A sale as two transactions: the reservation of reserve.pgbench.sql, then its confirmation, statement by statement in the same way.
\set number random(:first, :last)
begin;
select product_id, on_hand, reserved + 1 as reserved, version + 1 as version, on_hand - reserved as available
from stock_levels
where product_id = ('00000000-0000-7000-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid and location = 'main'
for update \gset
update stock_levels set reserved = :reserved, version = :version where product_id = :product_id and location = 'main';
insert into reservations (id, state, expires_at, created_at, updated_at)
values (uuidv7(), 'held', now() + interval '15 minutes', now(), now()) returning id as reservation_id, expires_at \gset
insert into reservation_lines (reservation_id, line, product_id, sku, location, quantity, held_until)
values (:reservation_id, 1, :product_id, 'B', 'main', 1, :expires_at);
insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after, reserved_after,
                             reservation_id, actor, occurred_at)
values (:product_id, uuidv7(), 'main', 'reserved', 0, 1, :on_hand, :reserved, :reservation_id, 'pgbench', now());
insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
values (uuidv7(), 'stock-events', 'stock.reserved', :product_id, :version,
        json_build_object('productId', :product_id::uuid, 'version', :version::bigint, 'location', 'main', 'onHandDelta', 0,
                          'reservedDelta', 1, 'stock', json_build_object('onHand', :on_hand::int, 'reserved',
                          :reserved::int, 'available', :available::int - 1), 'reservationId', :reservation_id::uuid),
        now(), '00-00000000000000000000000000000001-0000000000000001-01');
commit;
begin;
select product_id, quantity from reservation_lines where reservation_id = :reservation_id and line = 1 \gset
select on_hand - :quantity as on_hand, reserved - :quantity as reserved, version + 1 as version
from stock_levels where product_id = :product_id and location = 'main' for update \gset
select state from reservations where id = :reservation_id for update \gset
update stock_levels set on_hand = :on_hand, reserved = :reserved, version = :version
where product_id = :product_id and location = 'main';
update reservations set state = 'confirmed', updated_at = now() where id = :reservation_id;
update reservation_lines set held_until = null, confirmed_quantity = :quantity where reservation_id = :reservation_id;
insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after, reserved_after,
                             reservation_id, actor, occurred_at)
values (:product_id, uuidv7(), 'main', 'confirmed', - :quantity::int, - :quantity::int, :on_hand, :reserved, :reservation_id, 'pgbench', now());
insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
values (uuidv7(), 'stock-events', 'stock.confirmed', :product_id, :version,
        json_build_object('productId', :product_id::uuid, 'version', :version::bigint, 'location', 'main', 'onHandDelta',
                          - :quantity::int, 'reservedDelta', - :quantity::int, 'stock', json_build_object('onHand',
                          :on_hand::int, 'reserved', :reserved::int, 'available', :on_hand::int - :reserved::int),
                          'reservationId', :reservation_id::uuid),
        now(), '00-00000000000000000000000000000001-0000000000000001-01');
commit;
