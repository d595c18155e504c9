import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { systemCaller } from '#database'
import type { Outcome } from '#errors'
import { type Following, follow, type LoggedEvent } from '#events'
import { sql } from '#testing'
import { publish } from './outbox.ts'
import { relayOutbox } from './relay.ts'

const topic = 'stock-events'
const acknowledge: Outcome = { verdict: 'acknowledge' }
const started: Following[] = []
const caller = () => systemCaller('function:test')

interface Follower extends Following {
  /** Versions of the events that were delivered, in order. */
  versions: number[]
}

/** Follows the topic, and stops with the test. */
function start(
  group: string,
  answer: (event: LoggedEvent) => Outcome | Promise<Outcome> = () => acknowledge,
): Follower {
  const versions: number[] = []
  const following = follow({
    topics: [topic],
    group,
    deliver: async (event) => {
      versions.push(event.version)
      return answer(event)
    },
  })
  started.push(following)
  return { ...following, versions }
}

const until = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })
const seen = ({ versions }: Follower, expected: number[]) => until(() => expect(versions).toEqual(expected))
const cursorOf = async (group: string) =>
  (await sql`select position, attempts, holder, held_until from event_groups where name = ${group}`)[0]
const lastPosition = async () => (await sql`select max(position) as position from event_log`)[0]?.position

/** Publishes events of one product with these versions. */
async function log(...versions: number[]): Promise<void> {
  const productId = randomUUID()
  const events = versions.map((version) => {
    const data = { productId, version }
    return { type: 'stock.adjusted' as const, productId, version, data, trace: caller().trace }
  })
  await publish(sql, events)
  await relayOutbox(caller())
}

/** A promise, and what resolves it. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

beforeEach(async () => {
  await sql`truncate event_log, event_groups, dead_events`
})

afterEach(async () => {
  await Promise.all(started.splice(0).map((following) => following.stop()))
})

describe('following a topic', () => {
  it('begins with the first event there is, delivers in order, and goes on with what comes', async () => {
    await log(1, 2, 3)
    const follower = start('group')
    await seen(follower, [1, 2, 3])
    await log(4)
    await seen(follower, [1, 2, 3, 4])
  })

  it('hands over the whole event', async () => {
    const events: LoggedEvent[] = []
    const productId = randomUUID()
    const trace = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate: 'a=1' }
    await publish(sql, [{ type: 'stock.counted', productId, version: 7, data: { text: 'ü', list: [1] }, trace }])
    await relayOutbox(caller())
    start('group', (event) => {
      events.push(event)
      return acknowledge
    })
    await until(() => expect(events).toHaveLength(1))
    expect(events[0]).toMatchObject({
      type: 'stock.counted',
      productId,
      version: 7,
      data: { text: 'ü', list: [1] },
      ...trace,
    })
    expect(events[0]?.id).toMatch(/^[0-9a-f-]{36}$/)
    expect(events[0]?.occurredAt).toBeInstanceOf(Date)
  })

  it('goes on after a stop where it was, and delivers nothing again', async () => {
    await log(1, 2)
    const first = start('group')
    await seen(first, [1, 2])
    await first.stop()
    expect(await cursorOf('group')).toMatchObject({ position: await lastPosition(), holder: null })
    await log(3)
    await seen(start('group'), [3])
  })

  it('gives every group all events, each at its own pace', async () => {
    await log(1, 2)
    const { opened, open } = gate()
    const slow = start('slow', () => opened.then(() => acknowledge))
    const quick = start('quick')
    await seen(quick, [1, 2])
    await seen(slow, [1])
    open()
    await seen(slow, [1, 2])
  })

  it('passes over types that are not asked for', async () => {
    const productId = randomUUID()
    const types = ['stock.adjusted', 'stock.low', 'stock.out', 'stock.reserved'] as const
    await publish(
      sql,
      types.map((type, index) => ({ type, productId, version: index, data: {}, trace: caller().trace })),
    )
    await relayOutbox(caller())
    const delivered: string[] = []
    const deliver = async ({ type }: LoggedEvent) => {
      delivered.push(type)
      return acknowledge
    }
    started.push(follow({ topics: [topic], group: 'group', types: ['stock.adjusted', 'stock.reserved'], deliver }))
    await until(() => expect(delivered).toEqual(['stock.adjusted', 'stock.reserved']))
    await until(async () => expect(await cursorOf('group')).toMatchObject({ position: await lastPosition() }))
  })

  it('follows several topics at once, each from where the group has come to in it, and says which', async () => {
    const productId = randomUUID()
    const types = ['product.created', 'stock.adjusted', 'product.updated', 'stock.low'] as const
    const told: Array<[string, string]> = []
    const deliver = async ({ type }: LoggedEvent, from: string) => {
      told.push([from, type])
      return acknowledge
    }
    const publishAll = async () => {
      const trace = caller().trace
      await publish(
        sql,
        types.map((type, index) => ({ type, productId, version: index, data: {}, trace })),
      )
      await relayOutbox(caller())
    }
    const both = () => follow({ topics: ['stock-events', 'product-events'], group: 'group', deliver })
    const expected = [
      ['product-events', 'product.created'],
      ['product-events', 'product.updated'],
      ['stock-events', 'stock.adjusted'],
      ['stock-events', 'stock.low'],
    ]
    for (let start = 0; start < 2; start++) {
      await publishAll()
      const following = both()
      started.push(following)
      await until(() => expect(told).toHaveLength(4))
      await following.stop()
      expect(told.splice(0).sort()).toEqual(expected)
    }
  })

  it('says so where there is no adapter for the URL', () => {
    overrideEnvironment({ EVENTS_URL: 'kafka://127.0.0.1:9092' })
    expect(() => start('group')).toThrow('EVENTS_URL: must be postgres:')
    overrideEnvironment({ EVENTS_URL: undefined })
  })
})

describe('an event that is not dealt with', () => {
  it('is delivered again until it succeeds, and the next one waits for it', async () => {
    let failures = 2
    const follower = start('group', ({ version }) =>
      version === 2 && failures-- > 0 ? { verdict: 'retry', error: 'not now' } : acknowledge,
    )
    await log(1, 2, 3)
    await seen(follower, [1, 2, 2, 2, 3])
    expect(await sql`select 1 from dead_events`).toHaveLength(0)
    await until(async () =>
      expect(await cursorOf('group')).toMatchObject({ position: await lastPosition(), attempts: 0 }),
    )
  })

  it('is put among the dead events at once when it is rejected, with the reason and itself', async () => {
    const follower = start('group', ({ version }) =>
      version === 2 ? { verdict: 'reject', error: 'validation_failed: nonsense' } : acknowledge,
    )
    await log(1, 2, 3)
    await seen(follower, [1, 2, 3])
    const [event] = await sql`select id, position, product_id, data from event_log where version = 2`
    const dead =
      await sql`select group_name, topic, position, event_id, product_id, version, data, error, attempts from dead_events`
    expect([...dead]).toEqual([
      {
        group_name: 'group',
        topic,
        position: event?.position,
        event_id: event?.id,
        product_id: event?.product_id,
        version: 2,
        data: event?.data,
        error: 'validation_failed: nonsense',
        attempts: 1,
      },
    ])
  })

  it('is dead after ten attempts, wherever they were made', async () => {
    await log(1, 2)
    const failing = start('group', () => ({ verdict: 'retry', error: 'still not' }))
    await until(async () => expect((await cursorOf('group'))?.attempts).toBeGreaterThan(0))
    await failing.stop()
    await sql`update event_groups set attempts = 9`
    const follower = start('group', ({ version }) =>
      version === 1 ? { verdict: 'retry', error: 'still not' } : acknowledge,
    )
    await seen(follower, [1, 2])
    expect([...(await sql`select version, error, attempts from dead_events`)]).toEqual([
      { version: 1, error: 'still not', attempts: 10 },
    ])
  })
})

describe('followers of one group', () => {
  it('get events one at a time, and the second takes over when the first stops', async () => {
    await log(1)
    const first = start('group')
    await seen(first, [1])
    const second = start('group')
    await log(2, 3)
    await seen(first, [1, 2, 3])
    await first.stop()
    await log(4)
    await seen(second, [4])
  })

  it('finish the event in hand when they are stopped, and take no other', async () => {
    await log(1, 2)
    const { opened, open } = gate()
    const follower = start('group', () => opened.then(() => acknowledge))
    await seen(follower, [1])
    const stopping = follower.stop()
    open()
    await stopping
    expect(follower.versions).toEqual([1])
    const [event] = await sql`select position from event_log where version = 1`
    expect(await cursorOf('group')).toMatchObject({ position: event?.position, holder: null })
  })

  it('are replaced when they show no sign of life, and what they still do is not recorded', async () => {
    await log(1, 2)
    const { opened, open } = gate()
    const frozen = start('group', ({ version }) => (version === 1 ? opened.then(() => acknowledge) : acknowledge))
    await seen(frozen, [1])
    await sql`update event_groups set held_until = now() - interval '1 second'`
    const successor = start('group')
    await seen(successor, [1, 2])
    await until(async () => expect(await cursorOf('group')).toMatchObject({ position: await lastPosition() }))
    const { holder } = (await cursorOf('group')) ?? {}
    open()
    await frozen.stop()
    expect(await cursorOf('group')).toMatchObject({ position: await lastPosition(), holder })
  })
})
