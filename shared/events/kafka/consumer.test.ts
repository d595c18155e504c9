import { randomUUID } from 'node:crypto'
import type { Message } from 'kafkajs'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import type { Outcome } from '#errors'
import { listDeadEvents, redriveDeadEvents } from '#events'
import { sql } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { publish } from '../outbox/outbox.ts'
import { closeRelay, relayOutbox } from '../outbox/relay.ts'
import type { LoggedEvent } from '../postgres/log.ts'
import { adapters, currentKafkaUrl } from '../testing/adapters.ts'
import {
  acknowledge,
  context,
  gate,
  log,
  newEvent,
  seen,
  start,
  stopFollowing,
  topic,
  until,
} from '../testing/events.ts'
import { kafkaSettings, readTopic, withAdmin } from '../testing/kafka.ts'
import { createSender } from './producer.ts'
import { eventTopics } from './topics.ts'

// Enough for a consumer that can leave its group. One test has a consumer that can't.
vi.mock('../delivery/waits.ts', async (original) => ({
  ...(await original<typeof import('../delivery/waits.ts')>()),
  STOP_MAX_MS: 2_000,
}))

const dead = (group: string) => readTopic(currentKafkaUrl(), `${topic}.${group}.dead`)

/** Sends messages that no relay would send. */
async function send(...messages: Message[]): Promise<void> {
  const settings = kafkaSettings(currentKafkaUrl())
  const sender = createSender(settings, eventTopics(settings))
  await sender.send([{ topic: `${settings.prefix}${topic}`, messages }])
  await sender.close()
}

const groupState = (group: string) =>
  withAdmin(currentKafkaUrl(), async (admin, prefix) => {
    const { groups } = await admin.describeGroups([`${prefix}${group}`])
    return groups[0]?.state
  })

/** Two products whose events go to different partitions. */
async function productsApart(): Promise<[string, string]> {
  const products = Array.from({ length: 8 }, () => randomUUID())
  await publish(
    sql,
    products.map((productId) => newEvent(productId, 1)),
  )
  await relayOutbox(context())
  const messages = await readTopic(currentKafkaUrl(), topic)
  const other = messages.find(({ partition }) => partition !== messages[0]?.partition)
  return [String(messages[0]?.key), String(other?.key)]
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

  it('goes on with other partitions while one has an event that does not succeed', async () => {
    const [stuck, fine] = await productsApart()
    let isMended = false
    const passed: string[] = []
    start('group', ({ productId, version }) => {
      if (productId === stuck && version === 2 && !isMended) return { verdict: 'retry', error: 'not now' }
      if (version > 1) passed.push(`${productId} ${version}`)
      return acknowledge
    })
    await log([2, 3], stuck)
    await log([2, 3, 4], fine)
    await until(() => expect(passed).toEqual([2, 3, 4].map((version) => `${fine} ${version}`)))
    isMended = true
    await until(() => expect(passed.slice(3)).toEqual([2, 3].map((version) => `${stuck} ${version}`)))
  })

  it('buries an event after ten attempts, whole, with what is to be known of its death', async () => {
    // No waits between the attempts.
    vi.spyOn(Math, 'random').mockReturnValue(0)
    const productId = randomUUID()
    await log([1, 2], productId)
    const follower = start('group', ({ version }) =>
      version === 1 ? { verdict: 'retry', error: 'still not' } : acknowledge,
    )
    await seen(follower, [...Array<number>(10).fill(1), 2])
    const [letter] = await dead('group')
    const [message] = await readTopic(currentKafkaUrl(), topic)
    expect([letter?.key, letter?.value]).toEqual([message?.key, message?.value])
    const headers = Object.entries(letter?.headers ?? {}).map(([name, value]) => [name, String(value)])
    const original = Object.entries(message?.headers ?? {}).map(([name, value]) => [name, String(value)])
    expect(Object.fromEntries(headers)).toEqual({
      ...Object.fromEntries(original),
      dead_group: 'group',
      dead_topic: `${kafkaSettings(currentKafkaUrl()).prefix}${topic}`,
      dead_partition: String(message?.partition),
      dead_offset: message?.offset,
      dead_attempts: '10',
      dead_error: 'still not',
    })
  })

  it('does not begin with the first attempt again after a restart', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0)
    await log([1, 2])
    const answer = ({ version }: LoggedEvent): Outcome =>
      version === 1 ? { verdict: 'retry', error: 'still not' } : acknowledge
    const first = start('group', answer)
    await until(() => expect(first.versions.length).toBeGreaterThan(3))
    await first.stop()
    const second = start('group', answer)
    await until(() => expect(second.versions).toContain(2))
    expect([...first.versions, ...second.versions]).toEqual([...Array<number>(10).fill(1), 2])
    expect(await dead('group')).toHaveLength(1)
  })

  it('buries what is no event at once, and delivers what comes behind it', async () => {
    const key = randomUUID()
    await log([1], key)
    const [event] = await readTopic(currentKafkaUrl(), topic)
    const { headers = {} } = event ?? {}
    await send({ key, value: '{}' }, { key, value: '{', headers }, { key, value: null, headers })
    await log([2], key)
    const follower = start('group')
    await seen(follower, [1, 2])
    const reasons = (await dead('group')).map((letter) => String(letter.headers?.dead_error))
    expect(reasons).toEqual([
      expect.stringContaining('ce_id'),
      expect.stringContaining('the data is not JSON'),
      'there is no data',
    ])
  })

  it('records what is no event, and what the database can not store, by its place, and does not redrive it', async () => {
    const key = randomUUID()
    await log([1], key)
    const [event] = await readTopic(currentKafkaUrl(), topic)
    const { headers = {}, partition } = event ?? {}
    const deep = '['.repeat(200) + ']'.repeat(200)
    await send(
      { key, value: '{"a":"\0"', headers },
      { key, value: '{}', headers: { ...headers, ce_id: 'a\0b', ce_version: '2' } },
      { key, value: deep, headers: { ...headers, ce_id: 'deep', ce_version: '3' } },
      // From another producer: baggage whose key is not configured is not kept with it.
      { key, value: '{}', headers: { ...headers, ce_id: 'not a uuid', ce_version: '4', baggage: 'customer=7' } },
    )
    let isMended = false
    const follower = start('group', () => (isMended ? acknowledge : { verdict: 'reject', error: 'nonsense \0' }))
    await seen(follower, [1, 2, 3, 4])
    const list = async () => (await listDeadEvents({ limit: 50 }, context())).items
    await until(async () => expect(await list()).toHaveLength(5))
    const at = (offset: number) => `${topic}/${partition}/${offset}`
    expect((await list()).map(({ eventId, version, data }) => [eventId, version, data])).toEqual([
      ['not a uuid', 4, {}],
      [at(3), null, deep],
      [at(2), null, '{}'],
      [at(1), null, '{"a":"\0"'],
      [String(headers.ce_id), 1, { productId: key, version: 1 }],
    ])
    expect(await sql`select 1 from dead_events where baggage is not null`).toEqual([])
    expect(await dead('group')).toHaveLength(5)
    isMended = true
    expect(await redriveDeadEvents({}, context())).toBe(2)
    await seen(follower, [1, 2, 3, 4, 1, 4])
    expect(await list()).toHaveLength(3)
  })

  it('never drops a dead letter that can not be written: its partition waits', async () => {
    const productId = randomUUID()
    await log([1, 2], productId)
    const reject = start('group', ({ version }) =>
      version === 1 ? { verdict: 'reject', error: 'nonsense' } : acknowledge,
    )
    await seen(reject, [1, 2])
    await withAdmin(currentKafkaUrl(), (admin, prefix) => {
      const resource = {
        type: 2,
        name: `${prefix}${topic}.group.dead`,
        configEntries: [{ name: 'max.message.bytes', value: '10' }],
      }
      return admin.alterConfigs({ validateOnly: false, resources: [resource] })
    })
    await reject.stop()
    await log([3, 4], productId)
    const stuck = start('group', ({ version }) =>
      version === 3 ? { verdict: 'reject', error: 'nonsense' } : acknowledge,
    )
    await until(() => expect(stuck.versions.length).toBeGreaterThanOrEqual(2))
    expect(new Set(stuck.versions)).toEqual(new Set([3]))
    // Recorded once, however often the dead letter was tried.
    expect([...(await sql`select version from dead_events order by version`)]).toEqual([{ version: 1 }, { version: 3 }])
    await withAdmin(currentKafkaUrl(), (admin, prefix) => {
      const resource = { type: 2, name: `${prefix}${topic}.group.dead`, configEntries: [] }
      return admin.alterConfigs({ validateOnly: false, resources: [resource] })
    })
    await until(() => expect(stuck.versions.at(-1)).toBe(4))
    expect((await dead('group')).map(({ headers }) => String(headers?.ce_version))).toEqual(['1', '3'])
  })

  it('stops although its group waits for what another has in hand', async () => {
    const { opened, open } = gate()
    const busy = start('group', () => opened.then(() => acknowledge))
    await log([1])
    await seen(busy, [1])
    const waiting = start('group')
    await until(async () => expect(await groupState('group')).toBe('PreparingRebalance'))
    await waiting.stop()
    expect(busy.versions).toEqual([1])
    open()
  })

  it('shares a topic with others of its group, each partition with one of them', async () => {
    const followers = [start('group'), start('group')]
    // The follower that joins last also finds events that come after its join.
    await until(async () => {
      await productsApart()
      for (const { versions } of followers) expect(versions.length).toBeGreaterThan(0)
    })
  })
})
