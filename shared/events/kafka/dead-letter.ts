import type { EachBatchPayload, KafkaMessage, Message } from 'kafkajs'
import * as z from 'zod'
import { cutText } from '#errors'
import { logger } from '#telemetry'
import type { Subscription } from '../delivery/subscription.ts'
import { recordDeath } from './dead-event.ts'

/** A longer reason adds nothing. */
const ERROR_MAX = 1_000

/** The headers of a dead letter in addition to those of the message: where the message was, and why it is dead. */
export const DeadLetterHeaders = z
  .object({
    dead_group: z.string(),
    dead_topic: z.string(),
    dead_partition: z.string(),
    dead_offset: z.string(),
    dead_attempts: z.string(),
    dead_error: z.string(),
  })
  .meta({ id: 'DeadLetterHeaders' })

export interface DeadLetterOptions {
  subscription: Subscription
  /** The service's name for a topic of Kafka. */
  nameOf: (topic: string) => string
  /** Publishes a dead letter of a topic. */
  sendDeadLetter: (topic: string, letter: Message) => Promise<void>
}

/**
 * Records a message as a dead event, then publishes it as a dead letter. False if one of these fails: the message then waits. The record comes
 * first: however often it is tried, it is made once.
 */
export async function deadLetter(
  message: KafkaMessage,
  { topic, partition }: EachBatchPayload['batch'],
  attempts: number,
  error: string,
  { subscription, nameOf, sendDeadLetter }: DeadLetterOptions,
): Promise<boolean> {
  const { group } = subscription
  const cut = cutText(error, ERROR_MAX)
  const reason: z.infer<typeof DeadLetterHeaders> = {
    dead_group: group,
    dead_topic: topic,
    dead_partition: String(partition),
    dead_offset: message.offset,
    dead_attempts: String(attempts),
    dead_error: cut,
  }
  try {
    await recordDeath(message, { group, topic: nameOf(topic), partition, attempts, error: cut })
    const headers = { ...message.headers, ...reason }
    await sendDeadLetter(nameOf(topic), { key: message.key, value: message.value, headers })
    return true
  } catch (failure) {
    const { offset } = message
    logger().error(
      { group, topic, partition, offset, err: failure },
      'could not write the dead letter; the event waits',
    )
    return false
  }
}
