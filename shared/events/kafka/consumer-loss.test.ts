import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { logger } from '#telemetry'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { closeRelay, relayOutbox } from '../outbox/relay.ts'
import { adapters, currentKafkaUrl } from '../testing/adapters.ts'
import { context, log, seen, start, stopFollowing, topic, until } from '../testing/events.ts'
import { readTopic, withAdmin } from '../testing/kafka.ts'

/** Everything that was logged at a level, as JSON. */
function logged(level: 'warn' | 'error'): () => string {
  const spy = vi.spyOn(logger(), level)
  return () => JSON.stringify(spy.mock.calls)
}

/** Makes the broker compress the topic with this codec, and waits until the broker reports it: it takes a moment to learn of it. */
function compressWith(codec: string): Promise<unknown> {
  return withAdmin(currentKafkaUrl(), async (admin, prefix) => {
    const [type, name, setting] = [2, `${prefix}${topic}`, 'compression.type']
    const configEntries = [{ name: setting, value: codec }]
    await admin.alterConfigs({ validateOnly: false, resources: [{ type, name, configEntries }] })
    await until(async () => {
      const asked = { includeSynonyms: false, resources: [{ type, name, configNames: [setting] }] }
      const { resources } = await admin.describeConfigs(asked)
      expect(resources[0]?.configEntries[0]?.configValue).toBe(codec)
    })
  })
}

describe.skipIf(kafkaUrl === undefined)(`a follower of events ${inKafka}`, () => {
  beforeEach(() => adapters[1]?.reset())
  afterEach(async () => {
    vi.restoreAllMocks()
    await stopFollowing()
  })
  afterAll(async () => {
    overrideEnvironment({ EVENTS_URL: undefined })
    await closeRelay()
  })

  it('names the batch that it can not read, reads what else there is, and goes on once that batch is gone', async () => {
    const errors = logged('error')
    const productId = randomUUID()
    await log([1], productId)
    const follower = start('group')
    await seen(follower, [1])
    // Unnoticed by the relay: once its producer is open, it does not check again.
    await compressWith('zstd')
    await log([2], productId)
    const problem = /the batch at offset 1 of partition (\d) of the topic \S+ can't be read \(ZSTD/
    await until(() => expect(errors()).toMatch(problem))
    await compressWith('producer')
    // Twenty products are not all in that partition.
    for (let others = 0; others < 20; others++) await log([100])
    await until(() => expect(follower.versions).toContain(100))
    await log([3], productId)
    await withAdmin(currentKafkaUrl(), async (admin, prefix) => {
      const name = `${prefix}${topic}`
      await admin.fetchTopicOffsets(name)
      const partition = Number(problem.exec(errors())?.[1])
      await admin.deleteTopicRecords({ topic: name, partitions: [{ partition, offset: '2' }] })
    })
    await until(() => expect(follower.versions.filter((version) => version < 100)).toEqual([1, 3]))
    expect(follower.versions.filter((version) => version === 100)).toHaveLength(20)
  })

  it('refuses a topic that would be compressed, by name, sends it nothing, and goes on once that is set right', async () => {
    const warnings = logged('warn')
    const productId = randomUUID()
    await log([1], productId)
    await closeRelay()
    await compressWith('lz4')
    const follower = start('group')
    const problem = /topic \S+ has compression.type=lz4, which can't be read here: set compression.type=producer on it/
    await until(() => expect(warnings()).toMatch(problem))
    await expect(log([2], productId)).rejects.toThrow(problem)
    expect(follower.versions).toEqual([])
    await compressWith('producer')
    await relayOutbox(context())
    await seen(follower, [1, 2])
  })

  it('makes topics that are not compressed, whatever the broker does with others', async () => {
    await log([1])
    const { resources } = await withAdmin(currentKafkaUrl(), (admin, prefix) =>
      admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: 2, name: `${prefix}${topic}`, configNames: ['compression.type'] }],
      }),
    )
    // 1: the topic's own setting.
    expect(resources[0]?.configEntries).toMatchObject([{ configValue: 'producer', configSource: 1 }])
  })

  it('goes on with the first event that is left where the one it had come to is gone, and tells of the loss', async () => {
    const errors = logged('error')
    const productId = randomUUID()
    await log([1], productId)
    const first = start('group')
    await seen(first, [1])
    await first.stop()
    await log([2, 3], productId)
    const [message] = await readTopic(currentKafkaUrl(), topic)
    await withAdmin(currentKafkaUrl(), async (admin, prefix) => {
      const name = `${prefix}${topic}`
      // Makes the client look for the leaders of the partitions.
      await admin.fetchTopicOffsets(name)
      await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: message?.partition ?? 0, offset: '2' }] })
    })
    const second = start('group')
    await seen(second, [3])
    expect(errors()).toContain('a group has lost events')
  })
})
