import type { Outcome } from '#errors'
import { counter, histogram, logger } from '#telemetry'
import type { LoggedEvent } from '../postgres/log.ts'
import type { Backlog, Entry, Settlement } from './backlog.ts'
import { oneAtATime } from './one-at-a-time.ts'
import type { Progress } from './progress.ts'
import type { Failure, Subscription } from './subscription.ts'
import { ATTEMPTS_MAX } from './waits.ts'

/** The operations of a follower's log on a partition while its entries are delivered. */
export interface Session<E> {
  /** Whether to leave the partition after the delivery under way. */
  isOver: () => boolean
  save: (progress: Progress) => Promise<void>
  /** False if the dead letter could not be written: the entry's key then waits. */
  deadLetter: (entry: E, attempts: number, error: string) => Promise<boolean>
}

/** A partition that a consumer follows. */
export interface Partition<E extends Entry> {
  subscription: Subscription
  topic: string
  backlog: Backlog<E>
  suspicion: Suspicion
}

/** Which of the next entries may have crashed a process. */
export interface Suspicion {
  /** The number of the next entries whose attempts are recorded before they begin. */
  unverified: number
  /** Whether one of those entries may have caused a crash. They are then delivered one at a time in the whole process. */
  afterCrash: boolean
}

const delivered = counter('stream_events_total', 'Events delivered to a consumer group, by verdict.', [
  'group',
  'verdict',
])
const deadLetters = counter('stream_dead_letters_total', 'Events that a consumer group has dead-lettered.', ['group'])
const age = histogram(
  'stream_delivery_age_seconds',
  'Time from a change until its event was delivered to a consumer group.',
  ['group'],
  [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800],
)

/** The most events that are done but not saved. As many may be delivered again after a crash, or as many as a batch has. */
const UNSAVED_MAX = 100
const SAVE_MS = 1_000

/** The error of an attempt if only its beginning was recorded. */
export const INTERRUPTED = 'the process crashed during the attempt, or another follower took over'

/** The most entries that may have been under way, or done and not saved, when a process crashed. */
export function unsavedMax({ batch }: Subscription): number {
  return Math.max(UNSAVED_MAX, batch?.max ?? 1)
}

/**
 * Delivers the due entries of a partition's backlog, and saves the progress: after each batch, after 100 single events or a second, and at the end.
 * Returns the size of the largest delivery.
 */
export async function deliverBacklog<E extends Entry>(partition: Partition<E>, session: Session<E>): Promise<number> {
  const { subscription, backlog, suspicion } = partition
  const max = subscription.batch?.max ?? 1
  let largest = 0
  let unsaved = 0
  const startedAt = performance.now()
  let savedAt = startedAt
  const save = async () => {
    await session.save(backlog.progress())
    unsaved = 0
    savedAt = performance.now()
  }
  while (!session.isOver()) {
    const mayCrash = suspicion.afterCrash && suspicion.unverified > 0
    const entries = backlog.next(mayCrash ? 1 : max, startedAt)
    if (entries.length === 0) break
    try {
      await oneAtATime(mayCrash, () => deliverEntries(partition, entries, session))
    } finally {
      backlog.putBack()
    }
    suspicion.unverified = Math.max(0, suspicion.unverified - entries.length)
    largest = Math.max(largest, entries.length)
    unsaved += entries.length
    if (entries.length > 1 || unsaved >= UNSAVED_MAX || performance.now() - savedAt >= SAVE_MS) await save()
  }
  if (unsaved > 0) await save()
  return largest
}

async function deliverEntries<E extends Entry>(
  partition: Partition<E>,
  entries: readonly E[],
  session: Session<E>,
): Promise<void> {
  const { subscription, topic, backlog, suspicion } = partition
  const [first] = entries
  // The delivery may have waited for its turn, so the session may be over.
  if (!first || session.isOver()) return
  if (entries.length === 1) return backlog.settle(entries, [await deliverOne(partition, first, session)])
  if (suspicion.unverified > 0) {
    backlog.begin(first, INTERRUPTED)
    await session.save(backlog.progress())
  }
  const outcomes = await attemptBatch(subscription, topic, entries.map(eventOf))
  if ('verdict' in outcomes) return backlog.failTogether(entries, !outcomes.isOutage, outcomes.error)
  const settlements: Settlement[] = []
  const waiting = new Set<string>()
  for (const [index, entry] of entries.entries()) {
    const outcome = outcomes[index]
    // Events behind an event to be retried come again with it.
    if (!outcome || waiting.has(entry.key)) settlements.push({ step: 'retry', isCounted: false, error: '' })
    else settlements.push(await conclude(subscription, entry, outcome, 1, session))
    if (settlements[index]?.step === 'retry') waiting.add(entry.key)
  }
  backlog.settle(entries, settlements)
}

const eventOf = ({ content }: Entry) => content as LoggedEvent

/** If the event may crash the process, records the attempt before making it, so that the attempt still counts after a crash. */
async function deliverOne<E extends Entry>(
  { subscription, topic, backlog, suspicion }: Partition<E>,
  entry: E,
  session: Session<E>,
): Promise<Settlement> {
  const { group } = subscription
  const { content } = entry
  const lastError = backlog.lastError(entry) ?? INTERRUPTED
  const attempts = backlog.begin(entry, INTERRUPTED)
  if (attempts > ATTEMPTS_MAX) {
    const { position } = entry
    logger().error({ group, topic, position, attempts: ATTEMPTS_MAX, reason: lastError }, 'event dead-lettered')
    return deadLetterEntry(subscription, entry, ATTEMPTS_MAX, lastError, session)
  }
  if (attempts > 1 || suspicion.unverified > 0) await session.save(backlog.progress())
  if (content instanceof Error) {
    logger().error({ group, topic, position: entry.position, err: content }, 'message is not an event')
    return deadLetterEntry(subscription, entry, attempts, content.message, session)
  }
  const event = eventOf(entry)
  const outcome = await subscription.deliver(event, topic)
  countDelivery(group, event, outcome)
  return conclude(subscription, entry, outcome, attempts, session)
}

async function attemptBatch(
  { group, batch }: Subscription,
  topic: string,
  events: readonly LoggedEvent[],
): Promise<readonly Outcome[] | Failure> {
  if (!batch) throw new Error(`${group} takes no batches`)
  const outcomes = await batch.deliver(events, topic)
  if ('verdict' in outcomes) {
    delivered.inc({ group, verdict: outcomes.verdict }, events.length)
    logger().warn(
      { group, topic, events: events.length, reason: outcomes.error },
      'batch failed; its events will be delivered one by one',
    )
  } else {
    for (const [index, event] of events.entries()) {
      const outcome = outcomes[index]
      if (outcome) countDelivery(group, event, outcome)
    }
  }
  return outcomes
}

function countDelivery(group: string, { occurredAt }: LoggedEvent, { verdict }: Outcome): void {
  delivered.inc({ group, verdict })
  if (verdict === 'acknowledge') age.observe({ group }, (Date.now() - occurredAt.getTime()) / 1000)
}

/**
 * Decides what follows from the attempt with the number `attempts`. An outage does not count as an attempt, however long it lasts: a database that
 * is down for an hour must not turn good events into dead letters.
 */
async function conclude<E extends Entry>(
  subscription: Subscription,
  entry: E,
  outcome: Outcome,
  attempts: number,
  session: Session<E>,
): Promise<Settlement> {
  if (outcome.verdict === 'acknowledge') return { step: 'done' }
  const { group } = subscription
  const { error: reason, isOutage = false } = outcome
  const { id } = eventOf(entry)
  if (outcome.verdict === 'retry' && (isOutage || attempts < ATTEMPTS_MAX)) {
    logger().warn({ group, event: id, attempts, reason }, 'event will be delivered again')
    return { step: 'retry', isCounted: !isOutage, error: reason }
  }
  logger().error({ group, event: id, attempts, reason }, 'event dead-lettered')
  return deadLetterEntry(subscription, entry, attempts, reason, session)
}

async function deadLetterEntry<E extends Entry>(
  { group }: Subscription,
  entry: E,
  attempts: number,
  error: string,
  session: Session<E>,
): Promise<Settlement> {
  if (!(await session.deadLetter(entry, attempts, error))) return { step: 'retry', isCounted: true, error }
  deadLetters.inc({ group })
  return { step: 'done' }
}
