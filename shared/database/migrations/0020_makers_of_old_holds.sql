-- Holds from before makers were kept belong to whoever reserved them, as the ledger says: under API_KEYS_OWN_RESERVATIONS nobody but
-- an admin could end them otherwise. No index finds a movement by its reservation, and one would cost every write; so each product's
-- ledger is read backwards, by its primary key, until the movements of all such holds are found. A hold stays as it is where its maker
-- has another of that name by now: there may be only one.
do $$
declare
  product record;
  movement record;
begin
  -- In the order in which everybody locks them.
  perform from reservations where state = 'held' and made_by is null order by id for update;
  for product in
    select line.product_id as id, count(*) as holds
    from reservations as reservation
    join reservation_lines as line on line.reservation_id = reservation.id and line.line = 1
    where reservation.state = 'held' and reservation.made_by is null
    group by line.product_id
  loop
    for movement in
      select reservation_id, location, actor from stock_movements
      where product_id = product.id and type = 'reserved'
      order by sequence desc
    loop
      continue when not exists (
        select from reservations as reservation
        join reservation_lines as line on line.reservation_id = reservation.id and line.line = 1
        where reservation.id = movement.reservation_id and state = 'held' and made_by is null
          and product_id = product.id and location = movement.location
      );
      update reservations as reservation set made_by = movement.actor
      where id = movement.reservation_id and not exists (
        select from reservations as other
        where other.state = 'held' and other.holder = reservation.holder and other.reference = reservation.reference
          and other.made_by = movement.actor
      );
      product.holds := product.holds - 1;
      exit when product.holds = 0;
    end loop;
  end loop;
end
$$;
