-- Keys that were revoked, so that their use is seen, and the bootstrap key does not come back with the next start. Apart from those
-- that are valid: nothing that looks for a valid key can meet one of these.
create table revoked_api_keys (
  key_hash bytea primary key,
  api_key_id uuid not null,
  revoked_at timestamptz(3) not null default now(),
  revoked_by text not null
);
create index revoked_api_keys_revoked_at on revoked_api_keys (revoked_at);
