-- Where events are sent to. The secret signs what is sent, so a hash of it would not do: it is as safe as the database is.
create table webhooks (
  id uuid primary key,
  url text not null,
  events text[] not null check (cardinality(events) > 0),
  secret text not null,
  created_at timestamptz(3) not null default now()
);

-- detect-low-stock follows the events of products from now on: those so far say nothing of stock.
insert into event_groups (name, topic, position)
select name, 'product-events', (select coalesce(max(position), 0) from event_log)
from event_groups where name = 'detect-low-stock'
on conflict do nothing;
