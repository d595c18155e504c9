-- Due jobs are taken type by type: with many of one type waiting, nobody looks through those for one of another.
create index jobs_due_by_type on jobs (type, run_at) where state in ('queued', 'retrying');
drop index jobs_due;
