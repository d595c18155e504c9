-- The file that a job works on, in blocks numbered from 0. It is there until the job has succeeded. Files are read once or twice:
-- to compress them would cost more time than the disk is worth.
create table job_inputs (
  job_id uuid not null references jobs on delete cascade,
  number integer not null,
  bytes bytea not null,
  primary key (job_id, number)
);
alter table job_inputs alter column bytes set storage external;

-- What a job that is done in steps has to remember for its next attempt, written with each step.
alter table jobs add column checkpoint json;
