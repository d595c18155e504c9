-- Who made a reservation, as the ledger names them; null for those from before this was kept. Under API_KEYS_OWN_RESERVATIONS it is
-- theirs alone, and so is the name (holder, reference) that it goes by: two keys may each have a hold of that name. Where that is not
-- set, the second replaces the first whoever made it, which the lock on the name sees to.
alter table reservations add column made_by text;

create unique index reservations_held_once_each on reservations (holder, reference, made_by) nulls not distinct
  where state = 'held' and holder is not null and reference is not null;
drop index reservations_held_once;
