import { type Caller, primary, type Sql, transaction } from '#database'
import { counter, gauge, histogram } from '#telemetry'
import { appendFromOutbox } from './log.ts'
import { checkEventsSettings } from './settings.ts'

/** Events a transaction: about 15 ms of work, so a stop or another relay never waits for long. */
const BATCH_MAX = 1_000
/** Batches a run: 20,000 events come to more than the service can sell between two runs. */
const BATCHES_MAX = 20
/** Any fixed number that no other advisory lock of this database uses: "relay" in ASCII, cut to 32 bits. */
export const RELAY_LOCK = 0x656c6179

const age = gauge('outbox_oldest_age_seconds', 'Age of the oldest event that is not published yet, at the last look.')
const batchSizes = histogram('outbox_batch_events', 'Events published at once.', [], [1, 3, 10, 30, 100, 300, 1_000])
const published = counter('outbox_published_total', 'Events published.')

/**
 * Publishes what is in the outbox, in order, and removes it: batch after batch until one is not full. Only one relay works
 * at a time, whichever process it is in; the others find nothing to do. Gives how many events it published.
 * No cursor: docs/decisions/0003-outbox-without-cursor.md.
 */
export async function relayOutbox(caller: Caller): Promise<number> {
  const seconds = await oldestAge()
  age.set(seconds ?? 0)
  if (seconds === undefined) return 0
  // Not before there is something to publish: the environment is slow to read, and this runs twenty times a second.
  checkEventsSettings()
  let total = 0
  for (let batch = 0; batch < BATCHES_MAX; batch++) {
    const count = await relayBatch(caller)
    total += count
    if (count < BATCH_MAX) break
  }
  return total
}

/** Of the next event in line, in seconds; undefined where there is none. This is all that an idle relay asks. */
async function oldestAge(): Promise<number | undefined> {
  const [row] = await primary()<Array<{ seconds: number }>>`
    select extract(epoch from clock_timestamp() - occurred_at)::float8 as seconds from outbox order by sequence limit 1`
  return row?.seconds
}

async function relayBatch(caller: Caller): Promise<number> {
  const count = await transaction(caller, async (tx) => ((await takeTurn(tx)) ? appendFromOutbox(tx, BATCH_MAX) : 0))
  if (count > 0) {
    batchSizes.observe(count)
    published.inc(count)
  }
  return count
}

/**
 * The lock lasts until the commit is visible, and the batch is read by a statement of its own, with a snapshot taken under
 * the lock: so a relay sees all that the one before it has done.
 */
async function takeTurn(tx: Sql): Promise<boolean> {
  const [row] = await tx<[{ taken: boolean }]>`select pg_try_advisory_xact_lock(${RELAY_LOCK}) as taken`
  return row.taken
}
