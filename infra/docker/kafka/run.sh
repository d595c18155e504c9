#!/usr/bin/env bash
# Formats the storage of a new broker, and runs the broker. The image's own start script writes its configuration into the image.
set -euo pipefail

properties=/etc/kafka/stock.properties
if [ ! -e /var/lib/kafka/data/meta.properties ]; then
  /opt/kafka/bin/kafka-storage.sh format --cluster-id "$(/opt/kafka/bin/kafka-storage.sh random-uuid)" --config "$properties"
fi
exec /opt/kafka/bin/kafka-server-start.sh "$properties"
