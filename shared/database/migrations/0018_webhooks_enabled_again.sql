-- Since when a webhook is sent events, this time: what was before its last return was not asked for.
alter table webhooks add column enabled_at timestamptz not null default now();
update webhooks set enabled_at = created_at;
