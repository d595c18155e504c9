import type { KafkaMessage } from 'kafkajs'
import { isRefusedData, systemContext } from '#database'
import { logger } from '#telemetry'
import { type DyingEvent, recordDeadEvent } from '../dead-events.ts'
import { toEvent, Unreadable } from './message.ts'

/** Data that is nested deeper can't be shown, because JSON is written recursively. This service's events have a depth of four. */
const DEPTH_MAX = 100

/** Where a message died, and why. */
export type Death = Pick<DyingEvent, 'group' | 'topic' | 'error' | 'attempts'> & { partition: number }

/**
 * Records a message as a dead event, which can be listed and redriven. A message that is no event, or that the database refuses, is recorded by its
 * topic, partition and offset, with its text. Throws if the database fails.
 */
export async function recordDeath(message: KafkaMessage, { error: reason, ...place }: Death): Promise<void> {
  // PostgreSQL has no NUL in texts.
  const death: Death = { ...place, error: reason.replaceAll('\0', '\ufffd') }
  const context = systemContext(`function:${death.group}`)
  const event = toDyingEvent(message, death)
  try {
    await recordDeadEvent(event, context)
  } catch (error) {
    if (event.type === null || !isRefusedData(error)) throw error
    logger().error({ group: death.group, event: event.eventId, err: error }, 'the database refuses the dead event')
    await recordDeadEvent(byPlace(message, death), context)
  }
}

function toDyingEvent(message: KafkaMessage, death: Death): DyingEvent {
  try {
    const { id: eventId, data, ...event } = toEvent(message)
    if (isDeeper(data, DEPTH_MAX)) return byPlace(message, death)
    const { partition: _, ...rest } = death
    return { ...event, ...rest, eventId, data: String(message.value) }
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    return byPlace(message, death)
  }
}

/** A message as it is, without an event's type, product and version. Its text is stored as a JSON string, since the text itself may not be JSON. */
function byPlace({ value, offset, timestamp }: KafkaMessage, { partition, ...death }: Death): DyingEvent {
  return {
    ...death,
    position: Number(offset),
    eventId: `${death.topic}/${partition}/${offset}`,
    type: null,
    productId: null,
    version: null,
    data: JSON.stringify(value === null ? null : value.toString()),
    occurredAt: new Date(Number(timestamp)),
    traceparent: '',
    tracestate: null,
    baggage: null,
  }
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((member) => isDeeper(member, levels - 1))
}
