#!/usr/bin/env bash
# Fails with one clear line for each secret that is too short, too well known, or has characters that a URL can't contain unescaped.
set -euo pipefail

failed=0
for name in POSTGRES_PASSWORD DATABASE_OWNER_PASSWORD DATABASE_PASSWORD DATABASE_KEYS_PASSWORD DATABASE_MONITOR_PASSWORD REPLICATION_PASSWORD REDIS_PASSWORD RABBITMQ_PASSWORD BOOTSTRAP_API_KEY; do
  secret=${!name:-}
  if [[ ! $secret =~ ^[A-Za-z0-9._-]{16,128}$ || $secret =~ change|example|password|secret ]]; then
    echo "$name in .env must be a secret of your own: 16 to 128 letters, digits, dots, dashes and underscores (openssl rand -hex 24)" >&2
    failed=1
  fi
done
exit "$failed"
