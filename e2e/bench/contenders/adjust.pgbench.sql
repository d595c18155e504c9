-- One adjustment as one transaction, statement by statement.
\set number random(:first, :last)
begin;
select product_id, on_hand + 1 as on_hand, reserved, version + 1 as version
from stock_levels
where product_id = ('00000000-0000-7000-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid and location = 'main'
for update \gset
update stock_levels set on_hand = :on_hand, version = :version where product_id = :product_id and location = 'main';
insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after, reserved_after,
                             reason, actor, occurred_at)
values (:product_id, uuidv7(), 'main', 'adjustment', 1, 0, :on_hand, :reserved, 'received', 'pgbench', now());
insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
values (uuidv7(), 'stock-events', 'stock.adjusted', :product_id, :version,
        json_build_object('productId', :product_id::uuid, 'version', :version::bigint, 'location', 'main', 'onHandDelta', 1,
                          'reservedDelta', 0, 'stock', json_build_object('onHand', :on_hand::int, 'reserved',
                          :reserved::int, 'available', :on_hand::int - :reserved::int), 'reason', 'received'),
        now(), '00-00000000000000000000000000000001-0000000000000001-01');
commit;
