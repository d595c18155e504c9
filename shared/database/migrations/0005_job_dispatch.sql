-- Jobs that the broker is to be told of, where there is one: docs/decisions/0010. A row is written with the change that makes the
-- job wait, and removed once the broker has the message. What the message says is read from the job then.
create table job_dispatches (
  sequence bigint generated always as identity primary key,
  job_id uuid not null
);
-- Rows live for milliseconds, and every look begins where the dead ones are.
alter table job_dispatches set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
