-- Dead events of every log are here, to be listed and redriven. Waits for a moment at most: few events die.
alter table dead_events
  -- Of an event of another producer an id may be any text. A message that is no event has no type, product and version.
  alter column event_id type text,
  alter column product_id type text,
  alter column product_id drop not null,
  alter column type drop not null,
  alter column version drop not null,
  -- From the redrive until the group has handled the event: when it is due, or until when its lease lasts. Null in the list.
  add column due_at timestamptz(3),
  add column lease uuid,
  add check (lease is null or due_at is not null);
create index dead_events_of_group on dead_events (group_name, id) where due_at is null;
create index dead_events_of_topic on dead_events (topic, id) where due_at is null;
create index dead_events_redriven on dead_events (group_name, product_id, version) where due_at is not null;
create index dead_events_no_events on dead_events (died_at) where version is null;
