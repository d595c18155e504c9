import type { Admin } from 'kafkajs'
import { onShutdown } from '#async'
import type { Lag } from '../delivery/progress.ts'
import type { KafkaSettings } from '../settings.ts'
import { createKafka } from './client.ts'
import { ensureTopics, eventTopics } from './topics.ts'
import { unavailable } from './unavailable.ts'

/**
 * The ages that are distinguished, in seconds. Each is a tenth more than the one before, and the last is 8 days, as long as a topic keeps an event.
 */
const AGES = Array.from({ length: 143 }, (_, step) => 1.1 ** step)

/** A partition that a group has not read to its end. */
interface Behind {
  partition: number
  /** The offset of the next message that the group wants to read. */
  offset: number
}

let opened: { url: string; admin: Promise<Admin> } | undefined

/**
 * How far a group is behind the end of a topic. It goes by the group's committed offsets, so the group needs no living consumer. The seconds are
 * those since the group's next message was published, at most a tenth too few. A group that has never read is behind all of the topic. Throws
 * `unavailable` if Kafka does not answer this.
 */
export async function topicLag(group: string, topic: string, settings: KafkaSettings): Promise<Lag> {
  const [groupId, name] = [`${settings.prefix}${group}`, `${settings.prefix}${topic}`]
  try {
    const admin = await openAdmin(settings)
    const [committed] = await admin.fetchOffsets({ groupId, topics: [name] })
    const offsets = new Map(committed?.partitions.map(({ partition, offset }) => [partition, Number(offset)]))
    const behind: Behind[] = []
    let events = 0
    // Asked for last, so that events that are read and written meanwhile do not make the number negative.
    for (const { partition, low, high } of await admin.fetchTopicOffsets(name)) {
      const offset = Math.max(offsets.get(partition) ?? 0, Number(low))
      if (offset >= Number(high)) continue
      events += Number(high) - offset
      behind.push({ partition, offset })
    }
    return { events, seconds: behind.length === 0 ? 0 : await ageOf(behind, admin, name) }
  } catch (error) {
    // A failed connection is not used again, nor is one that could not be opened.
    await closeAdmin()
    throw unavailable(`does not say how far ${group} has read`, error)
  }
}

/**
 * The age of the oldest of these messages. Kafka does not tell the time of a message without sending the message, but it tells the first offset
 * that is not older than a given time. So the age is found by binary search, in eight steps.
 */
async function ageOf(behind: readonly Behind[], admin: Admin, topic: string): Promise<number> {
  const now = Date.now()
  const isOlder = async (ageSeconds: number) => {
    const firsts = await admin.fetchTopicOffsetsByTimestamp(topic, Math.floor(now - ageSeconds * 1_000))
    const first = new Map(firsts.map(({ partition, offset }) => [partition, Number(offset)]))
    return behind.some(({ partition, offset }) => (first.get(partition) ?? 0) > offset)
  }
  let [low, high] = [0, AGES.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (await isOlder(AGES[middle] ?? 0)) low = middle + 1
    else high = middle
  }
  return AGES[low - 1] ?? 0
}

function openAdmin(settings: KafkaSettings): Promise<Admin> {
  if (opened?.url !== settings.url) {
    void closeAdmin()
    onShutdown(closeAdmin)
    opened = { url: settings.url, admin: connect(settings) }
  }
  return opened.admin
}

async function connect(settings: KafkaSettings): Promise<Admin> {
  const kafka = await createKafka(settings)
  // Without this, a topic that this client may not see would have no lag.
  await ensureTopics(kafka, eventTopics(settings), { isUsed: false })
  const admin = kafka.admin()
  await admin.connect()
  return admin
}

async function closeAdmin(): Promise<void> {
  const closing = opened?.admin
  opened = undefined
  await closing?.then((admin) => admin.disconnect()).catch(() => {})
}
