import { jittered, startLoop } from '#async'
import { type RequestContext, type Sql, systemContext, transaction } from '#database'
import { newId } from '#ids'
import { counter, logger } from '#telemetry'
import { INTERRUPTED } from './delivery/delivery.ts'
import { oneAtATime } from './delivery/one-at-a-time.ts'
import { type Following, type Subscription, wants } from './delivery/subscription.ts'
import { ATTEMPTS_MAX, BACKOFF_MAX_MS, backoffMs } from './delivery/waits.ts'
import type { LoggedEvent } from './postgres/log.ts'

/** How often a follower without a redriven event looks for one, with an index query. */
const IDLE_MS = 1_000
/** A delivery renews its lease three times in this time. A follower that crashes keeps its event from others for this long. */
const LEASE_MS = 15_000
/** While the database, or something that an event needs, is away, the pauses grow to 6 s. */
const BACKOFF_FAILURES_MAX = 6

const redeliveries = counter('stream_redeliveries_total', 'Deliveries of redriven events, by what follows.', [
  'group',
  'step',
])

type Next = { step: 'done' } | { step: 'retry'; isOutage: boolean } | { step: 'dead-letter'; error: string }

/** A redriven event that this follower delivers. `attempts` includes this delivery. */
interface Claim {
  id: string
  lease: string
  topic: string
  attempts: number
  event: LoggedEvent
}

/**
 * Delivers the redriven events of a group, for either log: one at a time in each follower, those of one product in the order of their versions, in
 * parallel with the events from the log. `dead_events` is their queue. A handled event is deleted from it; an event that dies again is a new dead
 * event. Attempts are counted before they are made, so an event that crashes its follower dies too.
 */
export function followRedriven(subscription: Subscription): Following {
  const context = systemContext(`function:${subscription.group}`)
  let failures = 0
  return startLoop(
    async () => {
      const result = await redeliverNext(subscription, context).catch((error) => {
        logger().warn({ group: subscription.group, err: error }, 'could not redeliver an event; it will be tried again')
        return 'unavailable' as const
      })
      if (result === 'none') return jittered(IDLE_MS)
      failures = result === 'unavailable' ? failures + 1 : 0
      return failures === 0 ? 0 : backoffMs(Math.min(failures, BACKOFF_FAILURES_MAX))
    },
    { firstPauseMs: Math.random() * IDLE_MS },
  )
}

/** Delivers one redriven event, if one is due. */
async function redeliverNext(
  subscription: Subscription,
  context: RequestContext,
): Promise<'none' | 'delivered' | 'unavailable'> {
  const claim = await transaction(context, (tx) => claimNext(tx, subscription))
  if (!claim) return 'none'
  const stopRenewing = startRenewing(claim, context)
  try {
    const next = await oneAtATime(claim.attempts > 1, () => redeliver(subscription, claim))
    await transaction(context, (tx) => settle(tx, claim, next))
    redeliveries.inc({ group: subscription.group, step: next.step })
    return next.step === 'retry' && next.isOutage ? 'unavailable' : 'delivered'
  } finally {
    stopRenewing()
  }
}

/** An outage does not count as an attempt, however long it lasts. */
async function redeliver(subscription: Subscription, { topic, attempts, event }: Claim): Promise<Next> {
  if (!wants(subscription, event.type)) return { step: 'done' }
  const { group } = subscription
  const outcome =
    attempts > ATTEMPTS_MAX
      ? { verdict: 'reject' as const, error: INTERRUPTED }
      : await subscription.deliver(event, topic)
  if (outcome.verdict === 'acknowledge') return { step: 'done' }
  const { error: reason, isOutage = false } = outcome
  const details = { group, event: event.id, attempts, reason }
  if (outcome.verdict === 'retry' && (isOutage || attempts < ATTEMPTS_MAX)) {
    logger().warn(details, 'redriven event will be delivered again')
    return { step: 'retry', isOutage }
  }
  logger().error(details, 'redriven event dead-lettered')
  return { step: 'dead-letter', error: reason }
}

/**
 * Leases the next due redriven event of a product that has no earlier one left, and counts the attempt. No event is due later than after the
 * longest backoff: if one seems to be, the clock was set back after its time was written.
 */
async function claimNext(tx: Sql, { group, topics }: Subscription): Promise<Claim | undefined> {
  const lease = newId()
  const isQueued = tx`group_name = ${group} and topic = any(${[...topics]}::text[]) and due_at is not null`
  const [row] = await tx<Array<Omit<Claim, 'lease' | 'event'> & Omit<LoggedEvent, 'id'> & { eventId: string }>>`
    update dead_events set lease = ${lease}, due_at = ${fromNow(tx, LEASE_MS)}, attempts = attempts + 1
    where id = (
      select id from dead_events as next
      where ${isQueued} and (due_at <= clock_timestamp() or due_at > ${fromNow(tx, BACKOFF_MAX_MS)})
        -- Not by a join, which would be planned over the whole queue: this is asked of few rows, in the order of an index.
        and version = (
          select min(version) from dead_events as earlier where ${isQueued} and earlier.product_id = next.product_id
        )
      order by product_id, version limit 1 for update skip locked
    )
    returning id, topic, attempts, event_id as "eventId", position, type, product_id as "productId", version, data,
              occurred_at as "occurredAt", traceparent, tracestate, baggage`
  if (!row) return undefined
  const { id, topic, attempts, eventId, ...event } = row
  return { id, lease, topic, attempts, event: { id: eventId, ...event } }
}

/** Ends a claim. Changes nothing if this follower no longer has the lease: another one has the event now. */
async function settle(tx: Sql, { id, lease, attempts }: Claim, next: Next): Promise<void> {
  const isOurs = tx`id = ${id} and lease = ${lease}`
  switch (next.step) {
    case 'done':
      await tx`delete from dead_events where ${isOurs}`
      break
    case 'retry': {
      const [failed, dueMs] = next.isOutage ? [attempts - 1, 0] : [attempts, backoffMs(attempts)]
      await tx`
        update dead_events set lease = null, due_at = ${fromNow(tx, dueMs)}, attempts = ${failed} where ${isOurs}`
      break
    }
    case 'dead-letter':
      // With a new id the event is the newest again, and a request for its last death does not redrive it.
      await tx`
        update dead_events set id = ${newId()}, lease = null, due_at = null, died_at = now(), error = ${next.error},
          attempts = ${Math.min(attempts, ATTEMPTS_MAX)}
        where ${isOurs}`
  }
}

/** Renews the lease, however long the delivery takes. Returns the function that stops the renewals. */
function startRenewing({ id, lease }: Claim, context: RequestContext): () => void {
  const timer = setInterval(() => {
    transaction(
      context,
      (tx) => tx`update dead_events set due_at = ${fromNow(tx, LEASE_MS)} where id = ${id} and lease = ${lease}`,
    ).catch((error) => logger().warn({ err: error }, 'could not renew the lease of a redriven event'))
  }, LEASE_MS / 3)
  return () => clearInterval(timer)
}

const fromNow = (sql: Sql, ms: number) => sql`clock_timestamp() + ${ms}::float8 * interval '1 millisecond'`
