import type { ICustomPartitioner, ITopicConfig, Producer, TopicMessages } from 'kafkajs'
import { withTimeout } from '#async'
import type { KafkaSettings } from '../settings.ts'
import { briefRetry, createKafka } from './client.ts'
import { ensureTopics } from './topics.ts'

/** For all attempts of one send, including the connecting. The server ends the waiting transaction after 10 s without a statement. */
const SEND_MAX_MS = 7_000
const CLOSE_MAX_MS = 2_000

export interface KafkaSender {
  /** Resolves once every in-sync replica has all of the messages. After an error, any of them may have been written. */
  send: (topicMessages: TopicMessages[]) => Promise<void>
  close: () => Promise<void>
}

/**
 * An idempotent producer. It connects when it is first used, and creates missing topics. After a failure it is replaced: it numbers the messages of
 * each partition, and after a request that only some partitions accepted, its numbers are wrong. The broker would drop the next message as a
 * duplicate.
 */
export function createSender(settings: KafkaSettings, topics: readonly ITopicConfig[]): KafkaSender {
  let opening: Promise<Producer> | undefined

  function discard(producer: Promise<Producer>): Promise<void> {
    if (opening === producer) opening = undefined
    const closing = producer.then((opened) => opened.disconnect())
    // The broker may be gone.
    return withTimeout(CLOSE_MAX_MS, closing).catch(() => {})
  }

  return {
    async send(topicMessages) {
      opening ??= openProducer(settings, topics)
      const producer = opening
      try {
        const sending = producer.then((opened) => opened.sendBatch({ topicMessages, acks: -1 }))
        await withTimeout(SEND_MAX_MS, sending)
      } catch (error) {
        void discard(producer)
        throw error
      }
    },
    close: async () => opening && discard(opening),
  }
}

async function openProducer(settings: KafkaSettings, topics: readonly ITopicConfig[]): Promise<Producer> {
  const kafka = await createKafka(settings)
  await ensureTopics(kafka, topics)
  const { Partitioners } = await import('kafkajs')
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
    createPartitioner: () => constantPartitioner(Partitioners.DefaultPartitioner()),
    retry: briefRetry,
  })
  try {
    await producer.connect()
  } catch (error) {
    // A socket may be open, to a broker that has no controller to give the producer its id.
    void producer.disconnect().catch(() => {})
    throw error
  }
  return producer
}

/**
 * Spreads keys over the partitions that each topic had at first. If partitions were added between two attempts, other messages would
 * reuse the numbers of the first attempt, and the broker would drop them as duplicates.
 */
function constantPartitioner(partitioner: ReturnType<ICustomPartitioner>): ReturnType<ICustomPartitioner> {
  const known = new Map<string, Parameters<typeof partitioner>[0]['partitionMetadata']>()
  return (message) => {
    const partitionMetadata = known.get(message.topic) ?? message.partitionMetadata
    known.set(message.topic, partitionMetadata)
    return partitioner({ ...message, partitionMetadata })
  }
}
