#!/usr/bin/env bash
# Runs a streaming replica that makes itself: copies the primary where there is no copy yet, follows it, and copies it anew once it
# can't follow any more. One that was promoted is a primary, with data that nobody else has, and is never touched.
set -euo pipefail

PRIMARY=${PRIMARY:-postgres-primary}
SLOT=replica
# How often it is looked at, and how long a primary may take that is being started.
LOOK_S=2
PRIMARY_WAIT_MAX_S=300
# How long it may stand still beside a primary that answers: more than a restart of either takes.
STUCK_MAX_S=${STUCK_MAX_S:-60}
ANSWER_MAX_S=10

export PGPASSFILE=/tmp/pgpass PGCONNECT_TIMEOUT=3
CONNECTION="host=$PRIMARY user=replicator passfile=$PGPASSFILE application_name=replica"
server=

main() {
  (umask 077 && echo "$PRIMARY:5432:*:replicator:$REPLICATION_PASSWORD" >"$PGPASSFILE")
  trap stop TERM INT
  [ -s "$PGDATA/PG_VERSION" ] || clone 'there is no copy yet'
  start
  while kill -0 "$server" 2>/dev/null; do
    pause "$LOOK_S"
    look
    [ -z "$obstacle" ] && continue
    stop_server
    clone "$obstacle"
    start
  done
  # It ended by itself. The container is started again, with a new copy if this one was never of any use.
  [ -n "$position" ] || clone 'it could not be started'
  wait "$server"
}

start() {
  postgres -c config_file=/etc/postgresql/postgresql.conf -c "primary_conninfo=$CONNECTION" -c "primary_slot_name=$SLOT" &
  server=$!
  moved_at=$SECONDS
  position=
}

# Sets `obstacle` to why it can't follow the primary any more; to nothing where it does, or where that is not known.
look() {
  local state identifier primary
  obstacle=
  # It recovers, or is too busy to say.
  state=$(here "select case when not pg_is_in_recovery() then 'promoted'
    when exists (select from pg_stat_wal_receiver where status = 'streaming') then 'streaming'
    else coalesce(pg_last_wal_replay_lsn()::text, 'nowhere') end") || return 0
  # Of what it has already got, it may have much to replay.
  if [ "$state" = promoted ] || [ "$state" = streaming ] || [ "$state" != "$position" ]; then moved_at=$SECONDS; fi
  position=$state
  case $state in promoted | streaming) return 0 ;; esac

  identifier=$(here 'select system_identifier from pg_control_system()') || return 0
  primary=$(there "select case when pg_is_in_recovery() then 'a standby'
    when (select system_identifier from pg_control_system()) <> $identifier then 'another'
    else coalesce((select wal_status from pg_replication_slots where slot_name = '$SLOT'), 'no slot') end") || primary=away
  case $primary in
    another) obstacle='its primary is another database now' ;;
    lost) obstacle='the primary has kept all the log for it that it may, and has thrown it away' ;;
    'no slot') make_slot || true ;;
    # Nobody is there to be followed.
    away | 'a standby') moved_at=$SECONDS ;;
  esac
  if [ -z "$obstacle" ] && ((SECONDS - moved_at > STUCK_MAX_S)); then
    obstacle="it has not moved for $STUCK_MAX_S s, although the primary answers"
  fi
}

# The old copy is kept until the new one is whole: should the primary be lost meanwhile, it is all there is.
clone() {
  if [ -e "$PGDATA/PG_VERSION" ] && [ ! -e "$PGDATA/standby.signal" ]; then
    echo "$1, but it was promoted, so it is not copied anew: remove its volume if nobody needs its data" >&2
    exit 1
  fi
  echo "copying the primary: $1"
  wait_for_primary
  there "select pg_drop_replication_slot(slot_name) from pg_replication_slots
    where slot_name = '$SLOT' and wal_status = 'lost'" >/dev/null
  make_slot
  rm -rf "$PGDATA.new"
  mkdir -p "$(dirname "$PGDATA")"
  pg_basebackup --dbname "$CONNECTION" --pgdata "$PGDATA.new" --slot "$SLOT" --wal-method stream --checkpoint fast &
  wait $!
  touch "$PGDATA.new/standby.signal"
  rm -rf "$PGDATA.old"
  if [ -e "$PGDATA" ]; then mv "$PGDATA" "$PGDATA.old"; fi
  mv "$PGDATA.new" "$PGDATA"
  rm -rf "$PGDATA.old"
  echo 'the primary is copied'
}

wait_for_primary() {
  local deadline=$((SECONDS + PRIMARY_WAIT_MAX_S))
  until there 'select 1' >/dev/null; do
    if ((SECONDS > deadline)); then
      echo "no primary answers at $PRIMARY: is it up, and is REPLICATION_PASSWORD its password?" >&2
      exit 1
    fi
    pause 1
  done
}

make_slot() {
  there "select pg_create_physical_replication_slot('$SLOT', true)
    where not exists (select from pg_replication_slots where slot_name = '$SLOT')" >/dev/null
}

here() { ask "user=postgres dbname=postgres" "$1"; }
there() { ask "$CONNECTION dbname=postgres" "$1"; }
ask() { timeout "$ANSWER_MAX_S" psql --dbname "$1" --no-psqlrc -AtqX -c "$2" 2>/dev/null; }

# Sleeps, but not through a signal.
pause() {
  sleep "$1" &
  wait $! || true
}

stop() {
  trap '' TERM INT
  stop_server
  # A copy that is being made is begun anew next time.
  kill $(jobs -p) 2>/dev/null || true
  exit 0
}

# A fast shutdown: sessions are ended, and nothing is lost.
stop_server() {
  [ -n "$server" ] || return 0
  kill -INT "$server" 2>/dev/null || true
  wait "$server" || true
  server=
}

main
