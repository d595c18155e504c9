import type { EachBatchPayload, KafkaMessage } from 'kafkajs'
import { logger } from '#telemetry'
import { attemptDelivery, type Next, type Subscription } from '../delivery.ts'
import { type DeadLetterOptions, deadLetter } from './dead-letter.ts'
import { toEvent, Unreadable } from './message.ts'
import { beginAttempt, type PartitionState, type PartitionStates } from './partition-state.ts'

export interface DeliveryOptions extends DeadLetterOptions {
  partitions: PartitionStates
}

/** Delivers a message once, or dead-letters it. False if it is to be delivered again. */
export async function deliverMessage(
  message: KafkaMessage,
  state: PartitionState,
  payload: EachBatchPayload,
  options: DeliveryOptions,
): Promise<boolean> {
  const { subscription, nameOf, partitions } = options
  const { topic, partition } = payload.batch
  const here = { topics: [{ topic, partitions: [{ partition, offset: message.offset }] }] }
  const record = () => payload.commitOffsetsIfNecessary(partitions.withAttempts(here))
  if (await beginAttempt(state, message.offset, record)) {
    const next = await attempt(subscription, nameOf(topic), message, state.tried.attempts)
    if (next.step === 'retry' && !next.isCounted) state.tried.attempts--
    if (next.step !== 'dead-letter') return next.step === 'pass'
    state.tried.error = next.error
  } else {
    const { group } = subscription
    logger().error({ group, topic, partition, ...state.tried }, 'event dead-lettered: it has used up its attempts')
  }
  return deadLetter(message, payload.batch, state.tried, options)
}

async function attempt(
  subscription: Subscription,
  topic: string,
  message: KafkaMessage,
  attempts: number,
): Promise<Next> {
  try {
    return await attemptDelivery(subscription, topic, toEvent(message), attempts)
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    logger().error({ group: subscription.group, offset: message.offset, err: error }, 'message is not an event')
    return { step: 'dead-letter', error: error.message }
  }
}
