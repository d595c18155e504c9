#!/usr/bin/env bash
# Run once, by the image, in a new database: the role that the functions use, which owns its database and nothing else, and the role
# that the replica uses.
set -euo pipefail

psql --username postgres --no-psqlrc -v ON_ERROR_STOP=1 \
  -v database_password="$DATABASE_PASSWORD" -v replication_password="$REPLICATION_PASSWORD" <<'SQL'
create role stock login password :'database_password';
create database stock owner stock;
create role replicator login replication password :'replication_password';
SQL
