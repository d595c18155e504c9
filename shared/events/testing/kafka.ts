import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Admin, type ConsumerConfig, Kafka, type KafkaMessage } from 'kafkajs'
import { ATTEMPTS_MAX, backoffMs } from '../delivery/waits.ts'
import { createKafka } from '../kafka/client.ts'
import { type KafkaSettings, parseKafkaUrl } from '../settings.ts'

const { consumer } = Kafka.prototype

/** Changes the settings of all consumers that this process creates from now on: shorter waits, for tests. */
export function tuneConsumers(settings: Partial<ConsumerConfig>): void {
  Kafka.prototype.consumer = function (config) {
    return consumer.call(this, { ...config, ...settings } as ConsumerConfig)
  }
}

/** A message as it is in a topic. */
export type ReadMessage = KafkaMessage & { partition: number }

export function kafkaSettings(url: string): KafkaSettings {
  const settings = parseKafkaUrl(url)
  if (!settings) throw new Error(`${url} is no URL of a Kafka`)
  return settings
}

/** The result of `work` with an administrator's connection. */
export async function withAdmin<Result>(
  url: string,
  work: (admin: Admin, prefix: string) => Promise<Result>,
): Promise<Result> {
  const settings = kafkaSettings(url)
  const admin = (await createKafka(settings)).admin()
  await admin.connect()
  try {
    return await patiently(() => work(admin, settings.prefix))
  } finally {
    await admin.disconnect()
  }
}

/** A new partition has no leader for a moment, and the driver leaves it to its user to ask again. */
async function patiently<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (attempt === ATTEMPTS_MAX || (error as { retriable?: boolean }).retriable !== true) throw error
      await sleep(backoffMs(attempt))
    }
  }
}

/** All messages that are in a topic at this time, partition by partition, in order; none if there is no such topic. */
export async function readTopic(url: string, topic: string): Promise<ReadMessage[]> {
  const settings = kafkaSettings(url)
  const name = `${settings.prefix}${topic}`
  const ends = await withAdmin(url, async (admin) =>
    (await admin.listTopics()).includes(name) ? admin.fetchTopicOffsets(name) : [],
  )
  const missing = new Map(
    ends.filter(({ high, low }) => high !== low).map(({ partition, high }) => [partition, Number(high)]),
  )
  const messages: ReadMessage[] = []
  if (missing.size === 0) return messages
  const consumer = (await createKafka(settings)).consumer({ groupId: `reader-${randomUUID()}`, maxWaitTimeInMs: 50 })
  await consumer.connect()
  await consumer.subscribe({ topic: name, fromBeginning: true })
  await new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error))
    void consumer.run({
      eachBatch: async ({ batch: { partition, messages: some } }) => {
        for (const message of some) messages.push({ ...message, partition })
        if (Number(some.at(-1)?.offset ?? -1) + 1 >= (missing.get(partition) ?? 0)) missing.delete(partition)
        if (missing.size === 0) resolve()
      },
    })
  })
  await consumer.disconnect()
  return messages.sort((a, b) => a.partition - b.partition || Number(a.offset) - Number(b.offset))
}
