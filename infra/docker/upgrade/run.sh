#!/usr/bin/env bash
# Makes a cluster of this image's PostgreSQL from one of version $FROM, both stopped, with pg_upgrade: docs/runbooks/upgrade.md.
#
#   run.sh --check     only says whether it can be done
#   run.sh             copies: the old cluster stays as it is, and is the way back
#   run.sh --link      shares the files: in seconds, but the old cluster is lost with the new one's first start
set -euo pipefail

TO=${PG_MAJOR:-18}
OLD=${OLD_DATA:-/var/lib/postgresql/$FROM/docker}
NEW=${NEW_DATA:-/var/lib/postgresql/$TO/docker}
OLD_BIN=/usr/lib/postgresql/$FROM/bin
NEW_BIN=/usr/lib/postgresql/$TO/bin

main() {
  case ${1:-} in
    '' | --link | --check) ;;
    *) fail "usage: run.sh [--check | --link]" ;;
  esac
  [ "$(cat "$OLD/PG_VERSION" 2>/dev/null)" = "$FROM" ] || fail "$OLD holds no cluster of PostgreSQL $FROM"
  [ "$(old_control 'Database cluster state')" = 'shut down' ] || fail "$OLD was not shut down: start its server, and stop it"
  [ ! -e "$NEW" ] || [ -e "$NEW.unfinished" ] || fail "$NEW is there already"

  # What an attempt that was interrupted has left.
  rm -rf "$NEW"
  mkdir -p "$(dirname "$NEW")"
  touch "$NEW.unfinished"
  echo "making an empty cluster of PostgreSQL $TO"
  initialise
  cd "$(mktemp -d)"
  "$NEW_BIN/pg_upgrade" --old-bindir "$OLD_BIN" --new-bindir "$NEW_BIN" --old-datadir "$OLD" --new-datadir "$NEW" \
    --username postgres --socketdir "$PWD" ${1:+"$1"} || give_up
  if [ "${1:-}" = --check ]; then
    rm -rf "$NEW"
  else
    # Who may come in, and how, as before. The other settings are those of the command line.
    cp "$OLD/pg_hba.conf" "$NEW/pg_hba.conf"
  fi
  rm -f "$NEW.unfinished"
}

# With the old cluster's checksums or without, its encoding and its locale: pg_upgrade asks for that.
initialise() {
  local checksums=--data-checksums
  [ "$(old_control 'Data page checksum version')" != 0 ] || checksums=--no-data-checksums
  "$NEW_BIN/initdb" --pgdata "$NEW" --username postgres --auth trust --encoding "${ENCODING:-UTF8}" \
    --locale "${LOCALE:-${LANG:-C.UTF-8}}" "$checksums" >/dev/null
}

give_up() {
  find "$NEW/pg_upgrade_output.d" \( -name '*.log' -o -name '*.txt' \) -size +0 -exec tail -n 20 {} + >&2 || true
  rm -rf "$NEW" "$NEW.unfinished"
  fail "nothing is changed in $OLD"
}

old_control() {
  LC_ALL=C "$OLD_BIN/pg_controldata" "$OLD" | sed -n "s/^$1: *//p"
}

fail() {
  echo "$1" >&2
  exit 1
}

main "$@"
