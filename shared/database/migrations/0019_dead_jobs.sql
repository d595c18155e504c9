-- Dead jobs that nobody will redrive are pruned: they are few among the many that have succeeded.
create index jobs_dead on jobs (updated_at) where state = 'dead';
