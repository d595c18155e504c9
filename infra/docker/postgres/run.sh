#!/usr/bin/env bash
# Runs one of two PostgreSQL servers that can replace each other: the primary, or the replica that follows it. The volumes of both servers
# tell which of the two this one is, whether or not the other server runs: docs/decisions/0029-one-primary.md.
#
#   run.sh [OPTION...]   runs the server, with these options
#   run.sh fence         turns the data on the volume from a primary's into a replica's. For a server that is stopped
#   run.sh reclone       copies the primary over the data on the volume, whatever they are. For a server that is stopped
#
# A replica sets itself up: it copies the primary if it has no copy yet, follows it, and copies it again once it can't follow any more.
# Data that may exist nowhere else are never overwritten, except by `reclone`.
set -euo pipefail

PEER=${PEER:?the name of the other server}
# The volume of the other server, mounted read-only.
PEER_VOLUME=/peer
PEER_DATA=$PEER_VOLUME${PGDATA#/var/lib/postgresql}
SLOT=replica
# How often the server is checked, and how long the script waits for a primary that is starting.
LOOK_S=2
PRIMARY_WAIT_MAX_S=300
CLONE_PAUSE_S=10
# How long the replica may make no progress while the primary answers: longer than a restart of either server takes.
STUCK_MAX_S=60
# How long the server may not answer after its start: it first replays no more than max_wal_size.
SILENT_MAX_S=300
ANSWER_MAX_S=10

export PGPASSFILE=/tmp/pgpass PGCONNECT_TIMEOUT=3
CONNECTION="host=$PEER user=replicator passfile=$PGPASSFILE application_name=replica"
server=

main() {
  (umask 077 && echo "$PEER:5432:*:replicator:$REPLICATION_PASSWORD" >"$PGPASSFILE")
  trap stop TERM INT
  case ${1-} in
    fence) fence "$PEER is to take its place" ;;
    reclone) copy_primary 'in place of all that is here' --progress ;;
    *)
      while :; do
        find_role
        start "$@"
        attend
      done
      ;;
  esac
}

has_data() { [ -s "$1/PG_VERSION" ]; }
# PostgreSQL removes standby.signal when it is promoted, before it accepts the first write.
is_primary() { has_data "$1" && [ ! -e "$1/standby.signal" ]; }
# This server was the primary until the other one took its place. In a copy of a primary, the file is empty.
is_fenced() { [ -s "$PGDATA/standby.signal" ]; }

# Prints the latest timeline of a primary's data. Each promotion raises it by one.
timeline() {
  local file
  {
    LC_ALL=C pg_controldata "$1" 2>/dev/null | sed -n "s/^Latest checkpoint's TimeLineID: *//p"
    # The control file does not show a new timeline before the first checkpoint.
    for file in "$1"/pg_wal/*.history; do
      [ ! -e "$file" ] || echo $((16#$(basename "$file" .history)))
    done
  } | sort -n | tail -1
}

# Whether the other server was promoted to take the place of this one.
is_replaced() {
  is_primary "$PGDATA" && is_primary "$PEER_DATA" && (($(timeline "$PEER_DATA") > $(timeline "$PGDATA")))
}

# Ends the container if this server must be neither primary nor replica: the script never guesses which of two sets of data is the right one.
find_role() {
  find "$PEER_VOLUME" -maxdepth 3 -ignore_readdir_race >/dev/null || fail "the volume of $PEER can't be read, which tells whether that was promoted"
  if is_replaced; then
    fence "$PEER was promoted"
  elif is_primary "$PGDATA" && is_primary "$PEER_DATA" && ! (($(timeline "$PGDATA") > $(timeline "$PEER_DATA"))); then
    fail "this server and $PEER both have the data of a primary, of the same timeline. Say whose are to go: npm run failover -- reclone"
  elif ! has_data "$PGDATA"; then
    if has_data "$PEER_DATA" && ! is_primary "$PEER_DATA"; then
      fail "there are no data here, and $PEER has a replica of those that were. Promote it: npm run failover"
    fi
    # Only the server that has POSTGRES_PASSWORD creates a new database.
    if has_data "$PEER_DATA" || [ -z "${POSTGRES_PASSWORD-}" ]; then clone 'there is no copy yet'; fi
  fi
  if is_fenced && is_primary "$PEER_DATA"; then judge_former_primary; fi
}

# A former primary may have WAL of its own, past the point where the new primary left its timeline. A commit in that WAL may have been
# acknowledged, and no other server has it.
judge_former_primary() {
  local own left_at first commits
  own=$(timeline "$PGDATA")
  left_at=$(cat "$PEER_DATA"/pg_wal/*.history 2>/dev/null | awk -v own="$own" '$1 == own { print $2 }' | tail -1) || true
  [ -n "$left_at" ] || fail "$PEER does not know when it left timeline $own, on which this server was the primary"
  first=$(log_from "$left_at" "$own" --limit 1)
  commits=$(log_from "$left_at" "$own" --rmgr Transaction | grep -c 'desc: COMMIT') || true
  if [ -z "$first" ] && (($(bytes "$(control 'Latest checkpoint location')") < $(bytes "$left_at"))); then
    echo "the former primary has nothing that $PEER has not"
    : >"$PGDATA/standby.signal"
    # This slot would retain WAL for the server that this one follows now.
    rm -rf "$PGDATA/pg_replslot/$SLOT"
  elif [ -n "$first" ] && ((commits == 0)); then
    wait_for_primary
    copy_primary 'it was the primary, and has log of its own, without a commit'
  else
    fail "not following $PEER: this server was the primary, and has ${commits/#0/unknown} commits that $PEER had not received when it was promoted. \
If nobody needs them: npm run failover -- reclone"
  fi
}

# Prints the WAL records from a position on a timeline, as far as there are any.
log_from() { pg_waldump --path "$PGDATA/pg_wal" --start "$1" --timeline "$2" "${@:3}" 2>/dev/null || true; }
control() { LC_ALL=C pg_controldata "$PGDATA" | sed -n "s/^$1: *//p"; }
# Converts a position in the WAL, such as 1/2F000028, to a number of bytes.
bytes() { echo $(((16#${1%/*} << 32) + 16#${1#*/})); }

# The file makes every PostgreSQL that starts on these data a standby, even one that is started without this script.
fence() {
  is_primary "$PGDATA" || return 0
  echo "no primary any more: $1"
  echo "It was the primary. $1." >"$PGDATA/standby.signal"
  sync "$PGDATA/standby.signal" "$PGDATA"
}

start() {
  local program=(postgres)
  has_data "$PGDATA" || program=(docker-entrypoint.sh postgres)
  # The remains of a copy that was interrupted.
  rm -rf "$PGDATA.new" "$PGDATA.old"
  set -- -c config_file=/etc/postgresql/postgresql.conf -c "primary_conninfo=$CONNECTION" -c "primary_slot_name=$SLOT" "$@"
  # A former primary, until the other server is promoted, has nothing to follow, and nobody should read from it.
  if is_fenced; then set -- "$@" -c listen_addresses= -c primary_conninfo=; fi
  "${program[@]}" "$@" &
  server=$!
  was_fenced=$(is_fenced && echo yes || true)
  moved_at=$SECONDS
  position=
}

# Watches the server. Returns once the server has to be started again: it is stopped, and has a new copy if it needs one. Exits with the server.
attend() {
  while kill -0 "$server" 2>/dev/null; do
    pause "$LOOK_S"
    obstacle=
    is_to_restart=
    if is_fenced; then
      if is_primary "$PEER_DATA"; then is_to_restart=yes; fi
    elif [ -e "$PGDATA/standby.signal" ]; then
      look
    elif is_replaced || [ -n "$was_fenced" ]; then
      is_to_restart=yes
    fi
    if [ -n "$obstacle$is_to_restart" ]; then
      stop_server
      [ -z "$obstacle" ] || clone "$obstacle"
      return 0
    fi
  done
  # The server ended by itself. Docker starts the container again, with a new copy if the replica never got as far as streaming.
  if [ -e "$PGDATA/standby.signal" ] && [ "$position" != streaming ]; then clone 'it could not be started'; fi
  wait "$server"
  exit
}

# Sets `obstacle` to the reason why this server can't follow the primary any more. Leaves it empty if it can, or if that is unknown.
look() {
  local state primary
  if ! state=$(here "select case when not pg_is_in_recovery() then 'promoted'
    when exists (select from pg_stat_wal_receiver where status = 'streaming') then 'streaming'
    else coalesce(pg_last_wal_replay_lsn()::text, 'nowhere') end"); then
    # The server is recovering, or is too busy to answer. The files that it needs to recover may be damaged or missing.
    if [ -z "$position" ] && ((SECONDS - moved_at > SILENT_MAX_S)); then obstacle='it does not come up'; fi
    return 0
  fi
  # The server may have much to replay of the WAL that it has already received.
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
    # There is no primary to follow.
    away | 'a standby') moved_at=$SECONDS ;;
  esac
  if [ -z "$obstacle" ] && ((SECONDS - moved_at > STUCK_MAX_S)); then
    obstacle="it has not moved for $STUCK_MAX_S s, although the primary answers"
  fi
}

# Makes a new copy of the primary, unless that would lose data.
clone() {
  wait_for_primary
  if has_data "$PGDATA"; then refuse_to_lose_data "$1"; fi
  copy_primary "$1"
}

# `copy_primary REASON [OPTION...]`, with options of pg_basebackup. The old copy is kept until the new one is complete: if the primary is
# lost meanwhile, the old copy is all there is.
copy_primary() {
  [ "$(there 'select pg_is_in_recovery()')" = f ] || fail "$PEER is no primary that could be copied"
  echo "copying the primary: $1"
  there "select pg_drop_replication_slot(slot_name) from pg_replication_slots
    where slot_name = '$SLOT' and wal_status = 'lost'" >/dev/null
  make_slot
  rm -rf "$PGDATA.new"
  mkdir -p "$(dirname "$PGDATA")"
  pg_basebackup --dbname "$CONNECTION" --pgdata "$PGDATA.new" --slot "$SLOT" --write-recovery-conf --checkpoint fast "${@:2}" &
  # Docker starts the container again. Without the pause, a full disk would have the primary copied over and over.
  wait $! || { pause "$CLONE_PAUSE_S"; fail 'the primary could not be copied'; }
  rm -rf "$PGDATA.old"
  if [ -e "$PGDATA" ]; then mv "$PGDATA" "$PGDATA.old"; fi
  mv "$PGDATA.new" "$PGDATA"
  rm -rf "$PGDATA.old"
  echo 'the primary is copied'
}

# Ends the container if the data in this copy may exist nowhere else.
refuse_to_lose_data() {
  local reason= own theirs
  own=$(identifier)
  theirs=$(there 'select system_identifier from pg_control_system()')
  if is_fenced; then
    reason='it was the primary'
  elif [ -n "$own" ] && [ "$own" != "$theirs" ]; then
    reason='its primary is another database now'
  fi
  [ -z "$reason" ] || fail "not copying the primary ($1): $reason, and this may be all that is left of the data here. If nobody needs it: npm run failover -- reclone"
}

# Prints which database this is a copy of, or nothing if the control file is damaged.
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

# Sleeps until the time is over or a signal arrives.
pause() {
  sleep "$1" &
  wait $! || true
}

stop() {
  trap '' TERM INT
  stop_server
  # A copy that is not finished starts from the beginning next time.
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

main "$@"
