-- Products whose next event the broker refuses: their later events wait behind it, and all others go on. After its last attempt
-- the event is put among the dead ones, under the group 'publish-events', and the product goes on without it.
create table outbox_blocked (
  product_id uuid primary key,
  -- Of the event in the outbox.
  sequence bigint not null,
  attempts integer not null,
  retry_at timestamptz not null,
  error text not null
);
