#!/usr/bin/env bash
# The roles and their passwords: `stock` owns the database, and nothing else, and migrates it; the functions are `stock_run`, and those that
# make and revoke API keys `stock_keys`, which may do what infra/migrate grants them, or `stock_run_2` and `stock_keys_2`, which may do the same, where
# DATABASE_LOGIN is `_2`: the two take turns with each rotation of their passwords; `stock_monitor` reads the server's statistics, and no
# table of ours; `replicator` is the replica's. Run by the image in
# a new database. It may be run again, by hand, in one that is older than a role or has other passwords.
set -euo pipefail

psql --username postgres --no-psqlrc --quiet -v ON_ERROR_STOP=1 \
  -v owner_password="$DATABASE_OWNER_PASSWORD" -v run_password="$DATABASE_PASSWORD" -v keys_password="$DATABASE_KEYS_PASSWORD" \
  -v run="stock_run${DATABASE_LOGIN:-}" -v keys="stock_keys${DATABASE_LOGIN:-}" \
  -v monitor_password="$DATABASE_MONITOR_PASSWORD" -v replication_password="$REPLICATION_PASSWORD" <<'SQL'
select format('create role %I', name) from unnest(array['stock', 'stock_run', 'stock_run_2', 'stock_keys', 'stock_keys_2', 'stock_monitor', 'replicator']) as name
where not exists (select from pg_roles where rolname = name) \gexec
alter role stock login password :'owner_password';
grant stock_run to stock_run_2;
grant stock_keys to stock_keys_2;
alter role :"run" login password :'run_password';
alter role :"keys" login password :'keys_password';
alter role stock_monitor login password :'monitor_password';
grant pg_monitor to stock_monitor;
alter role replicator login replication password :'replication_password';
select 'create database stock owner stock' where not exists (select from pg_database where datname = 'stock') \gexec
SQL
