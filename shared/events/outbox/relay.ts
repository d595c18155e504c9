import { askPrimary, type RequestContext, transaction } from '#database'
import { counter, histogram } from '#telemetry'
import { closeKafkaRelay, publishToKafka } from '../kafka/relay.ts'
import { appendFromOutbox } from '../postgres/log.ts'
import { eventsSettings } from '../settings.ts'
import { takeTurn } from './relay-turn.ts'

/** Events per transaction: about 15 ms of work, so neither a stop nor another relay waits long. */
const BATCH_MAX = 1_000
/** Batches per run: 20,000 events are more than the service writes between two runs. */
const BATCHES_MAX = 20

const batchSizes = histogram('outbox_batch_events', 'Events published at once.', [], [1, 3, 10, 30, 100, 300, 1_000])
const published = counter('outbox_published_total', 'Events published.')

/**
 * Publishes the outbox, in order, and empties it: batch after batch until one is not full. Only one relay of all processes works at a time; the
 * others find nothing to do. Returns the number of published events. Throws `unavailable` if Kafka does not take them. It has no cursor:
 * docs/decisions/0003-outbox-without-cursor.md.
 */
export async function relayOutbox(context: RequestContext): Promise<number> {
  if (!(await hasEvents())) return 0
  // Read only if there is something to publish: this function runs twenty times a second.
  const settings = eventsSettings()
  if (settings.adapter === 'kafka') return publishToKafka(context, settings, count)
  let total = 0
  for (let batch = 0; batch < BATCHES_MAX; batch++) {
    const moved = await moveBatch(context)
    total += moved
    if (moved < BATCH_MAX) break
  }
  return total
}

/** Closes the relay's connections. A later run opens new ones. */
export function closeRelay(): Promise<void> {
  return closeKafkaRelay()
}

/** The only query of an idle relay. */
async function hasEvents(): Promise<boolean> {
  const rows = await askPrimary((sql) => sql`select from outbox order by sequence limit 1`)
  return rows.length > 0
}

async function moveBatch(context: RequestContext): Promise<number> {
  const moved = await transaction(context, async (tx) => ((await takeTurn(tx)) ? appendFromOutbox(tx, BATCH_MAX) : 0))
  count(moved)
  return moved
}

function count(events: number): void {
  if (events === 0) return
  batchSizes.observe(events)
  published.inc(events)
}
