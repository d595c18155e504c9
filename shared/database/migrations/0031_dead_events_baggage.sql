-- As in 0029.
alter table dead_events add column baggage text;
