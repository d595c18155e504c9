-- A webhook that is not enabled is sent nothing: because somebody has said so, or, with the reason 'gone', because its receiver has.
alter table webhooks
  add column enabled boolean not null default true,
  add column disabled_reason text check (disabled_reason in ('gone')),
  add constraint webhooks_reason_to_be_disabled check (not (enabled and disabled_reason is not null));
