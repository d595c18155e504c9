import { randomUUID } from 'node:crypto'
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { ServiceError } from '#errors'
import { listDeadEvents, redriveDeadEvents } from '#events'
import { sql } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { metric } from '#testing/metrics'
import { publish } from '../outbox/outbox.ts'
import { closeRelay, relayOutbox } from '../outbox/relay.ts'
import { adapters, currentKafkaUrl } from '../testing/adapters.ts'
import { context, newEvent, topic } from '../testing/events.ts'
import { readTopic, withAdmin } from '../testing/kafka.ts'

const relay = () => relayOutbox(context())
const waiting = async () =>
  (await sql<Array<{ version: number }>>`select version from outbox order by sequence`).map(({ version }) => version)
const inTopic = async () =>
  (await readTopic(currentKafkaUrl(), topic)).map(({ key, headers }) => [String(key), Number(headers?.ce_version)])
const dueAgain = (attempts: number) =>
  sql`update outbox_blocked set retry_at = now() - interval '1 second', attempts = ${attempts}`

/** Larger than a broker accepts by default. */
const tooLarge = { text: 'x'.repeat(1_100_000) }

describe.skipIf(kafkaUrl === undefined)(`the relay, with events ${inKafka},`, () => {
  beforeEach(async () => {
    overrideEnvironment({ BAGGAGE_KEYS: 'tenant' })
    await adapters[1]?.reset()
  })
  afterAll(async () => {
    overrideEnvironment({ EVENTS_URL: undefined, BAGGAGE_KEYS: undefined })
    await closeRelay()
  })

  it('sends a CloudEvent in binary mode, its data byte for byte as it was stored', async () => {
    const productId = randomUUID()
    const trace = {
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      tracestate: 'a=1,b=2',
      baggage: 'tenant=1',
    }
    await publish(sql, [newEvent(productId, 3, { trace })])
    const text = '{"b" : 1.50,  "a":"\\u00fc", "b": 2}'
    await sql`update outbox set data = ${text}::text::json`
    const [row] = await sql`select id, occurred_at from outbox`
    expect(await relay()).toBe(1)
    const [message] = await readTopic(currentKafkaUrl(), topic)
    expect(String(message?.key)).toBe(productId)
    expect(String(message?.value)).toBe(text)
    const headers = Object.entries(message?.headers ?? {}).map(([name, value]) => [name, String(value)])
    expect(Object.fromEntries(headers)).toEqual({
      ce_specversion: '1.0',
      ce_id: row?.id,
      ce_source: '/topics/stock-events',
      ce_type: 'stock.adjusted',
      ce_subject: productId,
      ce_time: row?.occurred_at.toISOString(),
      ce_version: '3',
      'content-type': 'application/json',
      ...trace,
    })
  })

  it('makes the topics that are missing, with the partitions that are asked for, and keeps events for 7 days', async () => {
    await publish(sql, [newEvent(randomUUID(), 1)])
    await relay()
    const { partitions, retention } = await withAdmin(currentKafkaUrl(), async (admin, prefix) => {
      const names = [`${prefix}product-events`, `${prefix}stock-events`]
      const { topics } = await admin.fetchTopicMetadata({ topics: names })
      const resource = { type: 2, name: names[1] ?? '', configNames: ['retention.ms'] }
      const { resources } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false })
      return {
        partitions: topics.map((each) => each.partitions.length),
        retention: resources[0]?.configEntries[0]?.configValue,
      }
    })
    expect(partitions).toEqual([3, 3])
    expect(retention).toBe(String(7 * 24 * 60 * 60 * 1_000))
  })

  it('empties an outbox of more bytes than a broker takes at once', async () => {
    const productId = randomUUID()
    const data = { text: 'x'.repeat(400_000) }
    await publish(
      sql,
      [1, 2, 3, 4, 5].map((version) => newEvent(productId, version, { data })),
    )
    expect(await relay()).toBe(5)
    expect(await inTopic()).toEqual([1, 2, 3, 4, 5].map((version) => [productId, version]))
  })

  it('goes on with all other products where one has an event that is too large, and goes on with that when it is taken', async () => {
    const [fat, ...others] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
    await publish(sql, [
      ...others.map((productId) => newEvent(productId, 1)),
      newEvent(fat, 11),
      newEvent(fat, 12, { data: tooLarge }),
      newEvent(fat, 13),
      ...others.map((productId) => newEvent(productId, 2)),
    ])
    const refused = await metric('outbox_failures_total{kind="refused"}')
    await relay()
    expect(await waiting()).toEqual([12, 13])
    expect(await metric('outbox_blocked_keys')).toBe(1)
    expect(await metric('outbox_failures_total{kind="refused"}')).toBe(refused + 1)
    const firsts = new Map<string, number[]>()
    for (const [key, version] of await inTopic()) {
      const versions = firsts.get(String(key)) ?? []
      if (!versions.includes(Number(version))) firsts.set(String(key), [...versions, Number(version)])
    }
    expect(Object.fromEntries(firsts)).toEqual({ ...Object.fromEntries(others.map((id) => [id, [1, 2]])), [fat]: [11] })

    await withAdmin(currentKafkaUrl(), (admin, prefix) => {
      const configEntries = [{ name: 'max.message.bytes', value: '2000000' }]
      return admin.alterConfigs({
        validateOnly: false,
        resources: [{ type: 2, name: `${prefix}${topic}`, configEntries }],
      })
    })
    let relayed = 0
    // The broker may take a moment to learn of the new setting.
    await vi.waitFor(async () => {
      // Longer than any wait, as if the clock had been ahead when the wait began and had been set right since.
      await sql`update outbox_blocked set retry_at = now() + interval '1 hour', attempts = 1`
      relayed += await relay()
      expect(relayed).toBe(2)
    })
    const versions = (await inTopic()).filter(([key]) => key === fat).map(([, version]) => version)
    expect(versions.slice(-2)).toEqual([12, 13])
    expect([await waiting(), await metric('outbox_blocked_keys')]).toEqual([[], 0])
  })

  it('puts an event that is never taken among the dead ones after ten attempts, and its product goes on', async () => {
    const productId = randomUUID()
    const deadLetters = await metric('outbox_dead_letters_total')
    await publish(sql, [newEvent(productId, 1, { data: tooLarge }), newEvent(productId, 2)])
    await relay()
    await dueAgain(8)
    await relay()
    expect(await waiting()).toEqual([1, 2])
    await dueAgain(9)
    await relay()
    expect([await waiting(), await inTopic()]).toEqual([[], [[productId, 2]]])
    const dead =
      await sql`select group_name, topic, version, attempts, error, length(data::text) > 1000000 as whole from dead_events`
    expect([...dead]).toEqual([
      {
        group_name: 'publish-events',
        topic,
        version: 1,
        attempts: 10,
        error: expect.stringContaining('MESSAGE_TOO_LARGE'),
        whole: true,
      },
    ])
    expect(await sql`select 1 from outbox_blocked`).toHaveLength(0)
    expect(await metric('outbox_dead_letters_total')).toBe(deadLetters + 1)
  })

  it('publishes a dead event when it is redriven and taken, and lets it die again when it is not', async () => {
    const productId = randomUUID()
    const trace = { ...context().trace, baggage: 'tenant=1' }
    await publish(sql, [newEvent(productId, 1, { data: tooLarge, trace }), newEvent(productId, 2)])
    const [event] = await sql`select id from outbox where version = 1`
    const die = async () => {
      await relay()
      await dueAgain(9)
      await relay()
    }
    const list = async () => (await listDeadEvents({ limit: 50 }, context())).items
    await die()
    const [first] = await list()
    expect(first).toMatchObject({ eventId: event?.id, group: null, topic, productId, version: 1, attempts: 10 })
    expect((await listDeadEvents({ limit: 50, group: '' }, context())).items).toEqual([first])
    expect(await redriveDeadEvents({ ids: [first?.id ?? ''] }, context())).toBe(1)
    expect([await list(), await waiting()]).toEqual([[], [1]])
    await die()
    const [second] = await list()
    expect(second).toMatchObject({ eventId: event?.id, group: null })
    expect(second?.id).not.toBe(first?.id)
    // The data that made the event too large is gone.
    await sql`update dead_events set data = '{}'`
    const counts = await Promise.all([redriveDeadEvents({}, context()), redriveDeadEvents({}, context())])
    expect(counts.sort()).toEqual([0, 1])
    expect(await relay()).toBe(1)
    expect(await inTopic()).toEqual([
      [productId, 2],
      [productId, 1],
    ])
    const [, told] = await readTopic(currentKafkaUrl(), topic)
    expect([String(told?.headers?.ce_id), String(told?.headers?.baggage)]).toEqual([event?.id, 'tenant=1'])
    expect(await list()).toEqual([])
  })

  it('holds back an event that no message can be made of, and its product alone', async () => {
    const [odd, even] = [randomUUID(), randomUUID()]
    await publish(sql, [newEvent(odd, 1), newEvent(even, 2), newEvent(odd, 3)])
    await sql`update outbox set occurred_at = 'infinity' where version = 1`
    expect(await relay()).toBe(1)
    expect(await inTopic()).toEqual([[even, 2]])
    expect([...(await sql`select product_id, error from outbox_blocked`)]).toEqual([
      { product_id: odd, error: 'occurred_at is not a time' },
    ])
  })

  it('lets a product go on when the event that held it back is taken out of the outbox', async () => {
    const productId = randomUUID()
    await publish(sql, [newEvent(productId, 1, { data: tooLarge }), newEvent(productId, 2)])
    await relay()
    await sql`delete from outbox where version = 1`
    await relay()
    expect(await inTopic()).toEqual([[productId, 2]])
  })

  it('blames no event for a broker that is not there: it says so, and publishes all of them once it is', async () => {
    const url = currentKafkaUrl()
    overrideEnvironment({ EVENTS_URL: 'kafka://127.0.0.1:1' })
    const productId = randomUUID()
    await publish(sql, [newEvent(productId, 1), newEvent(productId, 2)])
    const failures = await metric('outbox_failures_total{kind="unavailable"}')
    await expect(relay()).rejects.toSatisfy((error) => error instanceof ServiceError && error.code === 'unavailable')
    expect(await metric('outbox_failures_total{kind="unavailable"}')).toBe(failures + 1)
    expect(await waiting()).toEqual([1, 2])
    expect(await sql`select 1 from outbox_blocked union all select 1 from dead_events`).toHaveLength(0)
    overrideEnvironment({ EVENTS_URL: url })
    expect(await relay()).toBe(2)
    expect(await inTopic()).toEqual([
      [productId, 1],
      [productId, 2],
    ])
  })
})
