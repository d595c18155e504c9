import { askPrimary } from '#database'
import { COUNT_MAX, gauge, measure, measuredGauge } from '#telemetry'
import { REFUSED_BY_LOG } from './dead-events.ts'
import type { Lag } from './delivery/progress.ts'
import { eventTypes } from './event-types.ts'
import { topicLag } from './kafka/lag.ts'
import { logLag } from './postgres/lag.ts'
import { eventsSettings } from './settings.ts'

const outboxEvents = measuredGauge('outbox_events', `Events that are not published yet, counted to ${COUNT_MAX}.`)
const outboxAge = measuredGauge('outbox_oldest_age_seconds', 'Age of the oldest event that is not published yet.')
const lagEvents = gauge(
  'stream_lag_events',
  `Events of a topic that a consumer group has not read; in the database, counted to ${COUNT_MAX}.`,
  ['group', 'topic'],
)
const lagSeconds = gauge(
  'stream_lag_seconds',
  'How long the next event of a consumer group has been in the log, whether or not the group has a living consumer.',
  ['group', 'topic'],
)
const deadEvents = gauge(
  'stream_dead_events',
  `Dead events that wait for an operator, counted to ${COUNT_MAX}: of a consumer group, or of ${REFUSED_BY_LOG} those that the log refused.`,
  ['group'],
)

const topics = [...new Set(Object.values(eventTypes))]

/**
 * Measures the events that wait in the outbox, how far these consumer groups are behind the log, and the dead events. It measures from outside,
 * since a relay or a group that hangs, or is gone, measures nothing itself. Throws the error of a failed measurement.
 */
export async function measureEvents(groups: readonly string[]): Promise<void> {
  await Promise.all([measureOutbox(), measureStreams(groups), measureDeadEvents(groups)])
}

function measureOutbox(): Promise<void> {
  return measure('outbox', [outboxEvents, outboxAge], async () => {
    const [row] = await askPrimary(
      (sql) => sql<[Lag]>`
      select (select count(*) from (select from outbox limit ${COUNT_MAX}) as waiting) as events,
             coalesce((
               select extract(epoch from clock_timestamp() - occurred_at) from outbox order by sequence limit 1
             ), 0)::float8 as seconds`,
    )
    outboxEvents.set(row.events)
    outboxAge.set(row.seconds)
  })
}

function measureStreams(groups: readonly string[]): Promise<void> {
  const settings = eventsSettings()
  return measure('streams', [lagEvents, lagSeconds], async () => {
    for (const group of groups) {
      for (const topic of topics) {
        const lag = settings.adapter === 'kafka' ? topicLag(group, topic, settings) : logLag(group, topic)
        const { events, seconds } = await lag
        lagEvents.set({ group, topic }, events)
        lagSeconds.set({ group, topic }, seconds)
      }
    }
  })
}

function measureDeadEvents(groups: readonly string[]): Promise<void> {
  return measure('dead-events', [deadEvents], async () => {
    for (const group of [...groups, REFUSED_BY_LOG]) {
      const [row] = await askPrimary(
        (sql) => sql<[{ count: number }]>`
        select count(*) as count from (
          select from dead_events where group_name = ${group} and due_at is null limit ${COUNT_MAX}
        ) as dead`,
      )
      deadEvents.set({ group }, row.count)
    }
  })
}
