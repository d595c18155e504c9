import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { inRivalSession, sql } from '#testing'
import { metric } from '#testing/metrics'
import { publish } from './outbox/outbox.ts'
import { closeRelay, relayOutbox } from './outbox/relay.ts'
import type { LoggedEvent } from './postgres/log.ts'
import { follow } from './subscribe.ts'
import { adapters } from './testing/adapters.ts'
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
  write,
} from './testing/events.ts'

afterAll(async () => {
  overrideEnvironment({ EVENTS_URL: undefined })
  await closeRelay()
})

describe.each(adapters)('events $name', ({ isThere, reset, published, deadEvents, isThrough }) => {
  describe.skipIf(!isThere)('are', () => {
    const through = (group: string) => until(async () => expect(await isThrough(topic, group)).toBe(true))

    beforeEach(reset)
    afterEach(async () => {
      overrideEnvironment({ BAGGAGE_KEYS: undefined })
      await stopFollowing()
    })

    it('delivered from the first there is, in order, and those that come later as they come', async () => {
      const productId = randomUUID()
      await log([1, 2, 3], productId)
      const follower = start('group')
      await seen(follower, [1, 2, 3])
      await log([4], productId)
      await seen(follower, [1, 2, 3, 4])
    })

    it('handed over whole, in the trace of what caused them, with its baggage', async () => {
      overrideEnvironment({ BAGGAGE_KEYS: 'tenant' })
      const events: LoggedEvent[] = []
      const trace = {
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        tracestate: 'a=1',
        baggage: 'tenant=1',
      }
      const event = newEvent(randomUUID(), 7, { type: 'stock.counted', data: { text: 'ü', list: [1] }, trace })
      await publish(sql, [event])
      const [stored] = await sql`select id, occurred_at as "occurredAt" from outbox`
      await relayOutbox(context())
      start('group', (received) => {
        events.push(received)
        return acknowledge
      })
      await until(() => expect(events).toHaveLength(1))
      const { trace: _, ...told } = event
      expect(events[0]).toMatchObject({ ...told, ...trace, ...stored })
      expect(events[0]?.occurredAt).toBeInstanceOf(Date)
    })

    it('published in the order of each product, one that commits after rows with higher sequences too', async () => {
      const [x, y, z] = [randomUUID(), randomUUID(), randomUUID()]
      const versionsOf = async (productId: string) =>
        (await published(topic)).filter((event) => event.productId === productId).map(({ version }) => version)
      await inRivalSession(async (rival) => {
        // A transaction over two products: it draws its first sequence, and its transaction id, before all others.
        await write(rival, x, 1)
        await write(sql, y, 1)
        await relayOutbox(context())
        await write(rival, y, 2)
        await write(sql, z, 1)
        await relayOutbox(context())
        expect([await versionsOf(x), await versionsOf(y), await versionsOf(z)]).toEqual([[], [1], [1]])
        await rival`commit`
      })
      await relayOutbox(context())
      expect([await versionsOf(x), await versionsOf(y), await versionsOf(z)]).toEqual([[1], [1, 2], [1]])
      expect(await sql`select 1 from outbox`).toHaveLength(0)
    })

    it('not delivered again after a stop: the group goes on where it was', async () => {
      const productId = randomUUID()
      await log([1, 2], productId)
      const first = start('group')
      await seen(first, [1, 2])
      await first.stop()
      await through('group')
      await log([3], productId)
      await seen(start('group'), [3])
    })

    it('given to every group, each at its own pace', async () => {
      await log([1, 2])
      const { opened, open } = gate()
      const slow = start('slow', () => opened.then(() => acknowledge))
      await seen(start('quick'), [1, 2])
      await seen(slow, [1])
      open()
      await seen(slow, [1, 2])
    })

    it('told with their topic where a group follows several, each from where it has come to', async () => {
      const productId = randomUUID()
      const types = ['product.created', 'stock.adjusted', 'product.updated', 'stock.low'] as const
      const expected = [
        ['product-events', 'product.created'],
        ['product-events', 'product.updated'],
        ['stock-events', 'stock.adjusted'],
        ['stock-events', 'stock.low'],
      ]
      for (let round = 0; round < 2; round++) {
        const told: string[][] = []
        const deliver = async ({ type }: LoggedEvent, from: string) => {
          told.push([from, type])
          return acknowledge
        }
        await publish(
          sql,
          types.map((type, index) => newEvent(productId, 4 * round + index + 1, { type })),
        )
        await relayOutbox(context())
        const following = follow({ topics: ['stock-events', 'product-events'], group: 'group', deliver })
        await until(() => expect(told).toHaveLength(4)).finally(following.stop)
        expect(told.sort()).toEqual(expected)
      }
    })

    it('passed over where their type is not asked for', async () => {
      const productId = randomUUID()
      const types = ['stock.adjusted', 'stock.low', 'stock.reserved', 'stock.out'] as const
      await publish(
        sql,
        types.map((type, index) => newEvent(productId, index + 1, { type })),
      )
      await relayOutbox(context())
      const follower = start('group', () => acknowledge, ['stock.adjusted', 'stock.reserved'])
      await seen(follower, [1, 3])
      await through('group')
    })

    it('delivered again until they succeed, and what comes behind them for the product waits', async () => {
      let failures = 2
      const follower = start('group', ({ version }) =>
        version === 2 && failures-- > 0 ? { verdict: 'retry', error: 'not now' } : acknowledge,
      )
      await log([1, 2, 3])
      await seen(follower, [1, 2, 2, 2, 3])
      await through('group')
      expect(await deadEvents(topic, 'group')).toEqual([])
    })

    it('dead-lettered at once where they are rejected, with the reason, and the product goes on', async () => {
      const deadLetters = await metric('stream_dead_letters_total{group="group"}')
      const follower = start('group', ({ version }) =>
        version === 2 ? { verdict: 'reject', error: 'validation_failed: nonsense' } : acknowledge,
      )
      await log([1, 2, 3])
      await seen(follower, [1, 2, 3])
      await through('group')
      expect(await deadEvents(topic, 'group')).toEqual([
        { version: 2, error: 'validation_failed: nonsense', attempts: 1 },
      ])
      expect(await metric('stream_dead_letters_total{group="group"}')).toBe(deadLetters + 1)
    })

    it('delivered to one follower of a group at a time, and to the other when that one stops', async () => {
      const productId = randomUUID()
      const delivered: number[] = []
      const note = ({ version }: LoggedEvent) => {
        delivered.push(version)
        return acknowledge
      }
      const first = start('group', note)
      await log([1], productId)
      await until(() => expect(delivered).toEqual([1]))
      const second = start('group', note)
      await log([2, 3], productId)
      await until(() => expect(delivered).toEqual([1, 2, 3]))
      await first.stop()
      await log([4], productId)
      await seen(second, [...second.versions.filter((version) => version < 4), 4])
      expect(delivered).toEqual([1, 2, 3, 4])
    })

    it('finished when their follower is stopped, and no other is begun', async () => {
      const productId = randomUUID()
      await log([1, 2], productId)
      const { opened, open } = gate()
      const follower = start('group', () => opened.then(() => acknowledge))
      await seen(follower, [1])
      const stopping = follower.stop()
      open()
      await stopping
      expect(follower.versions).toEqual([1])
      await seen(start('group'), [2])
    })
  })
})
