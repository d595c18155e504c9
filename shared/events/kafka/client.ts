import type { Kafka, LogEntry, RetryOptions } from 'kafkajs'
import { counter, logger } from '#telemetry'
import type { KafkaSettings } from '../settings.ts'
import { stopIdleTimers } from './idle-timer.ts'
import { isolateUnreadable } from './unreadable.ts'

/** A nearby broker answers in milliseconds. A broker that takes longer is as good as gone, and a retry may reach another one. */
const REQUEST_MAX_MS = 3_000
const CONNECT_MAX_MS = 1_000

/** The driver's own retries. Callers of the driver retry for longer, or report the failure. */
export const briefRetry = { initialRetryTime: 100, maxRetryTime: 1_000, retries: 3 } as const satisfies RetryOptions

/**
 * Creates a client. Each consumer needs its own client: consumers that share a client share its cache of offsets, which would be wrong for all but
 * one. The driver is loaded here, so that a process without Kafka does not load it.
 */
export async function createKafka({ brokers }: KafkaSettings): Promise<Kafka> {
  const { Kafka, logLevel } = await import('kafkajs')
  await Promise.all([stopIdleTimers(), isolateUnreadable()])
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

/** The driver's message when a partition no longer has the offset that its group has reached. There is no other sign of it. */
const OFFSET_GONE = 'Offset out of range, resetting to default offset'

const losses = counter('stream_losses_total', 'Times that events were deleted before a consumer group had read them.', [
  'group',
])

/** Logs at debug level: the driver logs each attempt several times, and its callers log the outcome. */
function toDebugLog({ namespace, log: { message, timestamp, logger: _, ...details } }: LogEntry): void {
  if (message === OFFSET_GONE) {
    losses.inc({ group: details.groupId })
    logger().error(details, 'a group has lost events: it continues with the first that is left in the partition')
  } else {
    logger().debug({ namespace, ...details }, `KafkaJS: ${message}`)
  }
}
