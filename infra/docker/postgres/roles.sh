#!/usr/bin/env bash
# Creates the roles and sets their passwords. `stock` owns the database, and nothing else, and migrates it. The functions connect as
# `stock_run`; those that make and revoke API keys connect as `stock_keys`. infra/migrate grants the rights of both. `stock_run_2` and
# `stock_keys_2` have the same rights, and are used if DATABASE_LOGIN is `_2`: the two logins take turns with each rotation of the passwords.
# `stock_monitor` reads the server's statistics, and none of our tables. `replicator` is for the replica. The image runs this script in a
# new database. You can run it again by hand in a database that is older than a role or has other passwords.
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
