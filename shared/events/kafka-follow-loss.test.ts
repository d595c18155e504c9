import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { logger } from '#telemetry'
import { inKafka, kafkaUrl } from '#testing'
import { adapters, currentKafkaUrl } from './adapters-fixture.ts'
import { log, seen, start, stopFollowing, topic, until } from './events-fixture.ts'
import { readTopic, withAdmin } from './kafka-fixture.ts'
import { closeRelay } from './relay.ts'

/** What was logged at a level, as JSON. */
function logged(level: 'warn' | 'error'): () => string {
  const spy = vi.spyOn(logger(), level)
  return () => JSON.stringify(spy.mock.calls)
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

  it('tells why it can not go on, though it can join its group each time', async () => {
    const warnings = logged('warn')
    await log([1])
    await withAdmin(currentKafkaUrl(), (admin, prefix) => {
      const configEntries = [{ name: 'compression.type', value: 'zstd' }]
      const resource = { type: 2, name: `${prefix}${topic}`, configEntries }
      return admin.alterConfigs({ validateOnly: false, resources: [resource] })
    })
    const follower = start('group')
    await seen(follower, [1])
    await log([2])
    await until(() => expect(warnings()).toContain('ZSTD'))
    expect(follower.versions).toEqual([1])
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
      // Makes it look for who leads the partitions.
      await admin.fetchTopicOffsets(name)
      await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: message?.partition ?? 0, offset: '2' }] })
    })
    const second = start('group')
    await seen(second, [3])
    expect(errors()).toContain('events are lost to a group')
  })
})
