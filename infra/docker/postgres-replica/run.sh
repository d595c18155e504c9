#!/usr/bin/env bash
# Runs a streaming replica that makes itself: copies the primary where there is no copy yet, follows it, and copies it anew once it
# can't follow any more. One that may have data that nobody else has is never copied over: it was promoted, or its primary is gone and
# another database has taken that one's place.
set -euo pipefail

PRIMARY=${PRIMARY:-postgres-primary}
SLOT=replica
# How often it is looked at, and how long a primary may take that is being started.
LOOK_S=2
PRIMARY_WAIT_MAX_S=300
CLONE_PAUSE_S=10
# How long it may stand still beside a primary that answers: more than a restart of either takes.
STUCK_MAX_S=60
# How long it may be silent after its start: it replays no more than max_wal_size first.
SILENT_MAX_S=300
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
  # It ended by itself. The container is started again, with a new copy if it has not got as far as the stream.
  case $position in
    promoted | streaming) ;;
    *) clone 'it could not be started' ;;
  esac
  wait "$server"
}

start() {
  # What a copy that was interrupted has left behind.
  rm -rf "$PGDATA.new" "$PGDATA.old"
  postgres -c config_file=/etc/postgresql/postgresql.conf -c "primary_conninfo=$CONNECTION" -c "primary_slot_name=$SLOT" &
  server=$!
  moved_at=$SECONDS
  position=
}

# Sets `obstacle` to why it can't follow the primary any more; to nothing where it does, or where that is not known.
look() {
  local state primary
  obstacle=
  if ! state=$(here "select case when not pg_is_in_recovery() then 'promoted'
    when exists (select from pg_stat_wal_receiver where status = 'streaming') then 'streaming'
    else coalesce(pg_last_wal_replay_lsn()::text, 'nowhere') end"); then
    # It recovers, or is too busy to say. What it needs for that may be damaged, or gone.
    if [ -z "$position" ] && ((SECONDS - moved_at > SILENT_MAX_S)); then obstacle='it does not come up'; fi
    return 0
  fi
  # Of what it has already got, it may have much to replay.
  if [ "$state" = promoted ] || [ "$state" = streaming ] || [ "$state" != "$position" ]; then moved_at=$SECONDS; fi
  position=$state
  case $state in promoted | streaming) return 0 ;; esac

  primary=$(there "select case when pg_is_in_recovery() then 'a standby'
    when system_identifier <> $(identifier) then 'another'
    else coalesce((select wal_status from pg_replication_slots where slot_name = '$SLOT'), 'no slot') end
    from pg_control_system()" 2>/dev/null) || primary=away
  case $primary in
    another) obstacle='its primary is another database now' ;;
    lost) obstacle='the primary has kept all the log for it that it may, and has thrown it away' ;;
    'no slot') make_slot 2>/dev/null || true ;;
    # Nobody is there to be followed.
    away | 'a standby') moved_at=$SECONDS ;;
  esac
  if [ -z "$obstacle" ] && ((SECONDS - moved_at > STUCK_MAX_S)); then
    obstacle="it has not moved for $STUCK_MAX_S s, although the primary answers"
  fi
}

# The old copy is kept until the new one is whole: should the primary be lost meanwhile, it is all there is.
clone() {
  wait_for_primary
  if [ -s "$PGDATA/PG_VERSION" ]; then refuse_to_lose_data "$1"; fi
  echo "copying the primary: $1"
  there "select pg_drop_replication_slot(slot_name) from pg_replication_slots
    where slot_name = '$SLOT' and wal_status = 'lost'" >/dev/null
  make_slot
  rm -rf "$PGDATA.new"
  mkdir -p "$(dirname "$PGDATA")"
  pg_basebackup --dbname "$CONNECTION" --pgdata "$PGDATA.new" --slot "$SLOT" --write-recovery-conf --checkpoint fast &
  # The container is started again. A full disk would have the primary copied without end.
  wait $! || { pause "$CLONE_PAUSE_S"; fail 'the primary could not be copied'; }
  rm -rf "$PGDATA.old"
  if [ -e "$PGDATA" ]; then mv "$PGDATA" "$PGDATA.old"; fi
  mv "$PGDATA.new" "$PGDATA"
  echo 'the primary is copied'
}

# Ends the container where nobody else may have what is in this copy.
refuse_to_lose_data() {
  local reason= own theirs
  own=$(identifier)
  theirs=$(there 'select system_identifier from pg_control_system()')
  if [ ! -e "$PGDATA/standby.signal" ]; then
    reason='it was promoted'
  elif [ -n "$own" ] && [ "$own" != "$theirs" ]; then
    reason='its primary is another database now'
  fi
  [ -z "$reason" ] || fail "not copying the primary ($1): $reason, and this may be all that is left of the data here. Remove the replica's volume if nobody needs it"
}

# Which database this is a copy of; nothing where that is damaged.
identifier() {
  { LC_ALL=C pg_controldata "$PGDATA" 2>&1 || true; } | sed -n '/CRC.* does not match/q; s/^Database system identifier: *//p'
}

fail() {
  echo "$1" >&2
  exit 1
}

wait_for_primary() {
  local error deadline=$((SECONDS + PRIMARY_WAIT_MAX_S))
  until error=$(there 'select 1' 2>&1 >/dev/null); do
    ((SECONDS < deadline)) || fail "no primary answers: $error"
    pause 1
  done
}

make_slot() {
  there "select pg_create_physical_replication_slot('$SLOT', true)
    where not exists (select from pg_replication_slots where slot_name = '$SLOT')" >/dev/null
}

here() { ask "user=postgres dbname=postgres" "$1" 2>/dev/null; }
there() { ask "$CONNECTION dbname=postgres" "$1"; }
ask() { timeout "$ANSWER_MAX_S" psql --dbname "$1" --no-psqlrc -AtqX -c "$2"; }

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
