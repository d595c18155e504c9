import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { measureEvents } from '#events'
import { renderMetrics } from '#telemetry'
import { sql } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { metric } from '#testing/metrics'
import { closeRelay } from '../../../shared/events/outbox/relay.ts'
import { log, topic, until } from '../../../shared/events/testing/events.ts'
import { type KafkaStack, startKafkaStack } from './kafka-stack.ts'

// The connection that measures the lag of groups dies: no lag is reported meanwhile, and the measurement resumes by itself.

let stack: KafkaStack

const lag = () => metric(`stream_lag_events{group="group",topic="${topic}"}`)

describe.skipIf(kafkaUrl === undefined)(`the lag of groups ${inKafka} is measured again`, () => {
  beforeAll(async () => {
    stack = await startKafkaStack()
  }, 120_000)
  afterAll(async () => {
    overrideEnvironment({ EVENTS_URL: undefined })
    await stack.stop()
  })
  beforeEach(() => overrideEnvironment({ EVENTS_URL: stack.newUrl() }))
  afterEach(async () => {
    stack.proxy.mend()
    await closeRelay()
    await sql`truncate outbox, outbox_blocked, dead_events`
  })

  it.each([
    ['was cut off', () => stack.proxy.cut(), () => stack.proxy.mend()],
    ['has vanished without a sign', () => stack.proxy.freeze(), () => stack.proxy.mend()],
    ['was killed', () => stack.kafka.kill(), () => stack.kafka.restart()],
  ])(
    'after the broker %s',
    async (_, fail, mend) => {
      await log([1, 2])
      await until(() => measureEvents(['group']))
      expect(await lag()).toBe(2)
      await fail()
      await expect(measureEvents(['group'])).rejects.toMatchObject({ code: 'unavailable' })
      expect(await renderMetrics()).not.toMatch(/^stream_lag_events\{/m)
      await mend()
      await log([1])
      await until(() => measureEvents(['group']))
      expect(await lag()).toBe(3)
    },
    60_000,
  )
})
