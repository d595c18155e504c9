-- Secrets that a webhook had before and still signs with, so that its receiver can take its time to learn the new one: newest first, and
-- until when. Of a few hundred rows at most.
alter table webhooks
  add column previous_secrets text[] not null default '{}',
  add column previous_secrets_until timestamptz(3);
