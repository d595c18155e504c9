import type { Kafka, LogEntry, RetryOptions } from 'kafkajs'
import { counter, logger } from '#telemetry'
import type { KafkaSettings } from '../settings.ts'
import { stopIdleTimers } from './idle-timer.ts'
import { tellUnreadable } from './unreadable.ts'

/**
 * A broker near by answers in milliseconds; one that takes longer than this is as good as gone, and another try may find
 * another.
 */
const REQUEST_MAX_MS = 3_000
const CONNECT_MAX_MS = 1_000

/** For what goes wrong within the driver; who calls it goes on trying, or tells. */
export const briefRetry = { initialRetryTime: 100, maxRetryTime: 1_000, retries: 3 } as const satisfies RetryOptions

/**
 * A client of its own for each use: consumers that share one share what they know of offsets, and that of one would be wrong
 * for the other. The driver is loaded by those who use it.
 */
export async function createKafka({ brokers }: KafkaSettings): Promise<Kafka> {
  const { Kafka, logLevel } = await import('kafkajs')
  await Promise.all([stopIdleTimers(), tellUnreadable()])
  return new Kafka({
    clientId: 'stock-management',
    brokers,
    connectionTimeout: CONNECT_MAX_MS,
    requestTimeout: REQUEST_MAX_MS,
    retry: briefRetry,
    logLevel: logLevel.WARN,
    logCreator: () => toDebugLog,
  })
}

/** What the driver says, and nothing else tells, when a partition no longer has the offset at which a group is. */
const PLACE_GONE = 'Offset out of range, resetting to default offset'

const losses = counter(
  'stream_losses_total',
  'Times that events were deleted before a consumer group had got to them.',
  ['group'],
)

/** It tells of every attempt, several times; what becomes of them is logged by who made them. */
function toDebugLog({ namespace, log: { message, timestamp, logger: _, ...details } }: LogEntry): void {
  if (message === PLACE_GONE) {
    losses.inc({ group: details.groupId })
    logger().error(details, 'events are lost to a group: it goes on with the first that is left in the partition')
  } else {
    logger().debug({ namespace, ...details }, `KafkaJS: ${message}`)
  }
}
