#!/usr/bin/env bash
# A receiver of webhooks in the containers, for drills. In the project's folder, with API and BOOTSTRAP_API_KEY:
#
#   receiver.sh start    starts it, with a good certificate, and has all sales sent to it
#   receiver.sh expire   gives it a certificate that has expired
#   receiver.sh renew    gives it a good one again
#   receiver.sh remove   removes it, and all that was made for it
set -euo pipefail

certificates=.local/receiver
url=https://receiver:8443/
authorization="Authorization: Bearer ${BOOTSTRAP_API_KEY:?as .env has it}"

compose() {
  COMPOSE_FILE="${COMPOSE_FILE:-docker-compose.yml}:e2e/compose/receiver/compose.yml" docker compose --progress quiet "$@"
}

# `certify DAYS`: makes a certificate that is valid for that time. OpenSSL accepts -1 for such tests.
certify() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=receiver -keyout $certificates/key.pem |
    openssl x509 -req -CA $certificates/authority.pem -CAkey $certificates/authority-key.pem -days "$1" \
      -extfile <(echo subjectAltName=DNS:receiver) -out $certificates/certificate.pem
} 2>/dev/null

webhooks() {
  curl -sf --retry 10 --retry-delay 2 "$API/v1/webhooks" -H "$authorization" |
    node -pe 'JSON.parse(require("fs").readFileSync(0)).items.filter((each) => each.url === process.argv[1]).map((each) => each.id).join("\n")' $url
}

case ${1-} in
  start)
    mkdir -p $certificates
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=Authority of a drill' -days 30 \
      -keyout $certificates/authority-key.pem -out $certificates/authority.pem 2>/dev/null
    certify 30
    compose up -d --no-deps --wait receiver create-webhook process-job
    curl -sf --retry 10 --retry-delay 2 "$API/v1/webhooks" -H "$authorization" -H 'content-type: application/json' \
      -d '{"url":"'$url'","events":["stock.reserved","stock.confirmed"]}' >/dev/null
    ;;
  expire) certify -1 && compose restart --timeout 1 receiver ;;
  renew) certify 30 && compose restart --timeout 1 receiver ;;
  remove)
    for id in $(webhooks); do curl -sf --retry 10 --retry-delay 2 -X DELETE "$API/v1/webhooks/$id" -H "$authorization"; done
    compose rm --stop --force receiver
    docker compose --progress quiet up -d --no-deps --wait create-webhook process-job
    rm -r $certificates
    ;;
  *)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
