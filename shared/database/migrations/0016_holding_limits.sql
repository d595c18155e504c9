-- How much of a product may be held: by one reservation, and by one holder at a time. Null: as much as there is.
alter table products
  add column limit_per_reservation bigint check (limit_per_reservation > 0),
  add column limit_per_holder bigint check (limit_per_holder > 0);

-- What a holder holds, whatever they held before.
create index reservations_held_by on reservations (holder) where state = 'held' and holder is not null;
