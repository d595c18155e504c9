-- What whoever submitted a job was allowed to do: the job may do no more on their behalf. Null for
-- those from before this was kept, whose submitters were asked for no more than their route's scope.
alter table jobs add column scopes text[];

-- How many exports a key has open is looked up with each new one; jobs of other types, of which there are millions, don't pay for it.
create index jobs_open_exports on jobs (actor) where type = 'export-stock' and state in ('queued', 'running', 'retrying');
