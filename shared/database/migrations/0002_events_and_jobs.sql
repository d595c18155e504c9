-- The relay takes every row that it sees and removes it, so it compares with no transaction: docs/decisions/0003.
alter table outbox drop column transaction_id;
-- Rows live for milliseconds, and the relay begins its look where the dead ones are.
alter table outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- The embedded log. Positions are drawn by one relay at a time, which holds its lock until its commit, so their order is
-- the order of commits and a reader may keep a cursor. An id is there once: that an event is published twice can't happen.
create table event_log (
  topic text not null,
  position bigint generated always as identity,
  id uuid not null unique,
  type text not null,
  product_id uuid not null,
  version bigint not null,
  data json not null,
  occurred_at timestamptz(3) not null,
  traceparent text not null,
  tracestate text,
  primary key (topic, position)
);

-- How far each consumer group has come in a topic, and who follows it now. What a group has not passed is kept, so the
-- row of a group that is no more has to be deleted by hand.
create table event_groups (
  name text not null,
  topic text not null,
  position bigint not null default 0,
  -- Deliveries that failed, of the event after `position`.
  attempts integer not null default 0,
  holder uuid,
  held_until timestamptz,
  primary key (name, topic),
  check ((holder is null) = (held_until is null))
);

-- Events that a group could not handle, whole: the log forgets them, this does not.
create table dead_events (
  id uuid primary key,
  group_name text not null,
  topic text not null,
  position bigint not null,
  type text not null,
  product_id uuid not null,
  version bigint not null,
  data json not null,
  occurred_at timestamptz(3) not null,
  traceparent text not null,
  tracestate text,
  error text not null,
  attempts integer not null,
  event_id uuid not null,
  died_at timestamptz(3) not null default now(),
  unique (group_name, event_id)
);

-- Events that a consumer has dealt with, written in the transaction of what it did.
create table inbox (
  consumer text not null,
  event_id uuid not null,
  processed_at timestamptz not null default now(),
  primary key (consumer, event_id)
);
create index inbox_processed_at on inbox (processed_at);

-- The last alert of each product, and the version of the event that it, or the silence since, rests on.
create table stock_alerts (
  product_id uuid primary key references products,
  state text not null check (state in ('none', 'low', 'out')),
  version bigint not null
) with (fillfactor = 80);

-- Jobs, and their queue: docs/decisions/0004.
create table jobs (
  id uuid primary key,
  type text not null,
  payload json not null,
  state text not null default 'queued' check (state in ('queued', 'running', 'succeeded', 'retrying', 'dead')),
  attempts integer not null default 0,
  attempts_max integer not null,
  run_at timestamptz(3) not null default now(),
  -- Who runs it, as the id of the event that brought it, and until when that is believed without a sign of life.
  lease text,
  locked_until timestamptz(3),
  progress_done integer not null default 0,
  progress_total integer not null default 0,
  result json,
  error text,
  actor text not null,
  traceparent text not null,
  tracestate text,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  check ((state = 'running') = (lease is not null)),
  check ((lease is null) = (locked_until is null))
);
create index jobs_due on jobs (run_at) where state in ('queued', 'retrying');
create index jobs_running on jobs (locked_until) where state = 'running';
create index jobs_succeeded on jobs (updated_at) where state = 'succeeded';

-- The rows of a job whose result is a table, some a chunk, numbered from 0.
create table job_results (
  job_id uuid not null references jobs on delete cascade,
  number integer not null,
  rows json not null,
  primary key (job_id, number)
);

-- Jobs that died. A redriven one stays, with who did it; should it die again, it gets another.
create table dead_letters (
  id uuid primary key,
  job_id uuid not null references jobs on delete cascade,
  error text not null,
  attempts integer not null,
  died_at timestamptz(3) not null default now(),
  redriven_at timestamptz(3),
  redriven_by text,
  check ((redriven_at is null) = (redriven_by is null))
);
create unique index dead_letters_open on dead_letters (job_id) where redriven_at is null;
create index dead_letters_listed on dead_letters (id) where redriven_at is null;
