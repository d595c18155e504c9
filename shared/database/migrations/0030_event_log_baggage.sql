-- As in 0029.
alter table event_log add column baggage text;
