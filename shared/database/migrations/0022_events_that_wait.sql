-- Where some events of a group wait for another attempt: what is done behind `position`, and what is not. See shared/events/progress.ts.
alter table event_groups add column ahead json;
