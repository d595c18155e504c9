-- As in 0029.
alter table jobs add column baggage text;
