#!/usr/bin/env bash
# For a drill in the containers, in the project's folder, with API and BOOTSTRAP_API_KEY:
#
#   saturate.sh start    somebody keeps all others from the products, and two API keys ask for them all the time: ten minutes at most
#   saturate.sh stop     ends that, and removes the second key
set -euo pipefail

name=drill-saturation
going=.local/saturation
seconds_max=600
lists=40
admin="Authorization: Bearer ${BOOTSTRAP_API_KEY:?as .env has it}"
lock="do 'begin for turn in 1..120 loop lock table products in access exclusive mode; perform pg_sleep(4.95); commit; end loop; end'"

sql() { docker compose exec -T postgres-primary psql -U postgres -d stock -XAtqc "$1"; }

# `keep_asking HEADER PATH`: sends one request after the other.
keep_asking() {
  while [[ -e $going ]] && ((SECONDS < seconds_max)); do
    curl -s -o /dev/null -m 60 "$API/v1/$2" -H "$1" || true
    sleep 0.5
  done
}

case ${1-} in
  start)
    mkdir -p .local && touch $going
    # One key gets at most three quarters of a function's capacity, so two keys are needed.
    key=$(curl -sf "$API/v1/api-keys" -H "$admin" -H 'content-type: application/json' -d '{"name":"'$name'","scopes":["admin"]}' |
      node -pe 'JSON.parse(require("fs").readFileSync(0)).key')
    sql "$lock" &
    for header in "$admin" "Authorization: Bearer $key"; do keep_asking "$header" stock/audit & done
    for ((client = 0; client < lists; client++)); do keep_asking "$admin" "products?search=drill-$client" & done
    wait
    ;;
  stop)
    rm -f $going
    sql "select pg_terminate_backend(pid) from pg_stat_activity where query like 'do ''begin for turn in 1..120%'"
    sql "delete from api_keys where name = '$name'"
    ;;
  *)
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
