-- Behind reserve.pgbench.sql in one script: the confirmation of its reservation as one transaction, statement by statement in the same way.
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
