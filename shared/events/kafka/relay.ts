import { onShutdown } from '#async'
import { type RequestContext, type Sql, transaction } from '#database'
import { counter, gauge, logger } from '#telemetry'
import { ATTEMPTS_MAX } from '../delivery/waits.ts'
import { takeTurn } from '../outbox/relay-turn.ts'
import type { KafkaSettings } from '../settings.ts'
import type { OutboxRow } from './message.ts'
import {
  blockRow,
  countBlocked,
  deadLetterRow,
  ROWS_MAX,
  readBatch,
  readBlocked,
  removeRows,
  unblock,
} from './outbox-rows.ts'
import { createSender, type KafkaSender } from './producer.ts'
import { type Batch, createBatch, isLate, SendFailed, type Sending, sendRows } from './send.ts'
import { eventTopics } from './topics.ts'
import { unavailable } from './unavailable.ts'

/** Batches per transaction. If a relay dies before its commit, as many are published twice. */
const BATCHES_MAX = 5
/** Transactions per run. */
const TURNS_MAX = 4
/** After this time no batch is begun. With the batch under way (7 s), a turn stays below a transaction's 12 s. */
const TURN_MAX_MS = 2_000

const blockedKeys = gauge('outbox_blocked_keys', 'Products whose next event the broker refuses, when last counted.')
const deadLetters = counter('outbox_dead_letters_total', 'Events that could not be published and were dead-lettered.')
const failures = counter(
  'outbox_failures_total',
  'Failed attempts to publish: the broker refused an event, or was unavailable.',
  ['kind'],
)

interface Relay {
  url: string
  sender: KafkaSender
  /** The most events in the next batch. */
  rowsMax: number
}

let opened: Relay | undefined

/** One transaction of the relay. */
interface Turn extends Sending {
  tx: Sql
  relay: Relay
  /** The sizes of the published batches. */
  batches: number[]
  /** Whether there may be more to publish. */
  isCutShort: boolean
}

/**
 * Publishes the outbox to Kafka, in order. It removes events once every in-sync replica has them, and calls `onBatch` with each batch's size.
 * Returns the number of published events. Throws `unavailable` if Kafka does not take them; they then stay in the outbox.
 */
export async function publishToKafka(
  context: RequestContext,
  settings: KafkaSettings,
  onBatch: (events: number) => void,
): Promise<number> {
  let published = 0
  for (let count = 0; count < TURNS_MAX; count++) {
    const { batches, isCutShort, failure } = await transaction(context, (tx) => takeBatches(tx, settings))
    for (const events of batches) {
      onBatch(events)
      published += events
    }
    if (failure) {
      failures.inc({ kind: 'unavailable' })
      throw unavailable('does not take events, which wait in the outbox', failure.cause)
    }
    if (!isCutShort) break
  }
  return published
}

export async function closeKafkaRelay(): Promise<void> {
  const closing = opened?.sender.close()
  opened = undefined
  await closing
}

function openRelay(settings: KafkaSettings): Relay {
  if (opened?.url !== settings.url) {
    void opened?.sender.close()
    onShutdown(closeKafkaRelay)
    opened = { url: settings.url, sender: createSender(settings, eventTopics(settings)), rowsMax: ROWS_MAX }
  }
  return opened
}

/** Commits even if the broker fails, so that events published before the failure are not published again. */
async function takeBatches(tx: Sql, settings: KafkaSettings): Promise<Turn & { failure?: SendFailed }> {
  const deadline = performance.now() + TURN_MAX_MS
  const relay = openRelay(settings)
  const turn: Turn = {
    tx,
    relay,
    sender: relay.sender,
    prefix: settings.prefix,
    batches: [],
    isCutShort: false,
    deadline,
  }
  if (!(await takeTurn(tx))) return turn
  try {
    await retryBlocked(turn)
    await publishBatches(turn)
  } catch (error) {
    if (!(error instanceof SendFailed)) throw error
    return { ...turn, failure: error }
  }
  blockedKeys.set(await countBlocked(tx))
  return turn
}

/** Reads the next batch while the current one is being sent. */
async function publishBatches(turn: Turn): Promise<void> {
  const { tx, relay, batches } = turn
  let rows = await readBatch(tx, [], relay.rowsMax)
  for (let count = 1; count <= BATCHES_MAX && rows.length > 0 && !isLate(turn); count++) {
    const batch = createBatch()
    turn.isCutShort = count === BATCHES_MAX
    const reading = turn.isCutShort ? [] : readBatch(tx, rows, relay.rowsMax)
    const [sent, next] = await Promise.allSettled([sendRows(turn, rows, batch), reading])
    await removeRows(tx, batch.sent)
    for (const { row, reason } of batch.refused.values()) await refuse(tx, row, 1, reason)
    if (batch.sent.length > 0) batches.push(batch.sent.length)
    narrow(relay, batch)
    if (sent.status === 'rejected') throw sent.reason
    if (next.status === 'rejected') throw next.reason
    rows = next.value.filter(({ productId }) => !batch.refused.has(productId))
  }
}

/**
 * Makes the next batches smaller if this turn ended before it had isolated the refused event: each attempt needs a new producer, which takes 0.7 s
 * at a round trip of 100 ms. Otherwise, every turn would end at the same point.
 */
function narrow(relay: Relay, { sent, refused, refusedTogether }: Batch): void {
  if (sent.length + refused.size > 0) relay.rowsMax = ROWS_MAX
  else if (refusedTogether > 0) relay.rowsMax = refusedTogether >> 1
}

/** Retries the refused events that are due, each in a batch of its own. */
async function retryBlocked(turn: Turn): Promise<void> {
  const { tx, batches } = turn
  for (const row of await readBlocked(tx)) {
    const batch = createBatch()
    await sendRows(turn, [row], batch)
    const refused = batch.refused.get(row.productId)
    if (refused) await refuse(tx, row, row.attempts + 1, refused.reason)
    if (batch.sent.length === 0) continue
    await removeRows(tx, batch.sent)
    await unblock(tx, row)
    batches.push(1)
  }
}

async function refuse(tx: Sql, row: OutboxRow, attempts: number, reason: string): Promise<void> {
  failures.inc({ kind: 'refused' })
  const { id, type, productId } = row
  if (attempts < ATTEMPTS_MAX) {
    logger().warn({ event: id, type, productId, attempts, reason }, 'event refused by the broker; its product waits')
    await blockRow(tx, row, attempts, reason)
  } else {
    logger().error({ event: id, type, productId, attempts, reason }, 'event dead-lettered: it can not be published')
    await deadLetterRow(tx, row, attempts, reason)
    deadLetters.inc()
  }
}
