#!/usr/bin/env bash
# Uses pg_upgrade to make a cluster for this image's PostgreSQL from one of version $FROM. Both are stopped: docs/runbooks/upgrade.md.
#
#   run.sh --check     only says whether the upgrade is possible
#   run.sh             copies the files: the old cluster stays as it is, and is the way back
#   run.sh --link      shares the files: takes seconds, but the old cluster is lost once the new one first starts
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

  # The remains of an attempt that was interrupted.
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
    # Who may connect, and how, stays as before. The other settings come from the command line.
    cp "$OLD/pg_hba.conf" "$NEW/pg_hba.conf"
  fi
  rm -f "$NEW.unfinished"
}

# Makes a cluster with the same checksum setting, encoding and locale as the old one: pg_upgrade requires that.
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
