import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { PageQuery, transaction } from '#database'
import type { Outcome } from '#errors'
import { listDeadEvents, oncePerEvent, redriveDeadEvents } from '#events'
import { sql } from '#testing'
import { metric } from '#testing/metrics'
import { ATTEMPTS_MAX } from './delivery/waits.ts'
import { publish } from './outbox/outbox.ts'
import { closeRelay, relayOutbox } from './outbox/relay.ts'
import type { LoggedEvent } from './postgres/log.ts'
import type { DeadEvent } from './schema.ts'
import { adapters } from './testing/adapters.ts'
import {
  acknowledge,
  context,
  type Follower,
  gate,
  log,
  newEvent,
  seen,
  start,
  stopFollowing,
  topic,
  until,
} from './testing/events.ts'

// Retries have no delay here.
vi.mock('./delivery/waits.ts', async (original) => ({
  ...(await original<typeof import('./delivery/waits.ts')>()),
  backoffMs: () => 1,
}))

const reject: Outcome = { verdict: 'reject', error: 'validation_failed: nonsense' }
const retry: Outcome = { verdict: 'retry', error: 'internal: a defect' }

const dead = async (filter: { group?: string; topic?: string } = {}): Promise<DeadEvent[]> =>
  (await listDeadEvents({ ...filter, ...PageQuery.parse({}) }, context())).items
const redrive = (ids?: string[]) => redriveDeadEvents({ ids }, context())
const versions = (events: DeadEvent[]) => events.map(({ version }) => version)
const isDead = (count: number) => until(async () => expect(await dead()).toHaveLength(count))
const isQueueEmpty = () =>
  until(async () => expect(await sql`select 1 from dead_events where due_at is not null`).toHaveLength(0))

/** Makes the follower of a redriven event lose the event, as a frozen follower would, after this many attempts. */
const loseLease = (attempts: number) =>
  sql`update dead_events set due_at = now() - interval '1 second', lease = ${randomUUID()}, attempts = ${attempts}`

/** A follower that refuses these versions until `mend` is called. */
function picky(group: string, refused: number[]): Follower & { mend: () => void } {
  let isMended = false
  const follower = start(group, ({ version }) => (refused.includes(version) && !isMended ? reject : acknowledge))
  const mend = () => {
    isMended = true
  }
  return Object.assign(follower, { mend })
}

afterAll(async () => {
  overrideEnvironment({ EVENTS_URL: undefined })
  await closeRelay()
})

describe.each(adapters)('dead events $name', ({ isThere, reset, published, deadEvents }) => {
  describe.skipIf(!isThere)('are', () => {
    beforeEach(reset)
    afterEach(async () => {
      overrideEnvironment({ BAGGAGE_KEYS: undefined })
      await stopFollowing()
    })

    it('listed whole, newest first, with the group that refused them', async () => {
      const productId = randomUUID()
      const follower = picky('group', [2, 4])
      await log([1, 2, 3, 4], productId)
      await seen(follower, [1, 2, 3, 4])
      await isDead(2)
      const events = await dead()
      const second = (await published(topic)).find(({ version }) => version === 2)
      expect(versions(events)).toEqual([4, 2])
      expect(events[1]).toEqual({
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        eventId: second?.id,
        group: 'group',
        topic,
        type: 'stock.adjusted',
        productId,
        version: 2,
        data: { productId, version: 2 },
        error: 'validation_failed: nonsense',
        attempts: 1,
        diedAt: expect.stringMatching(/Z$/),
      })
      expect(versions(await dead({ group: 'group', topic }))).toEqual([4, 2])
      expect(await dead({ group: 'other' })).toEqual([])
      expect(await dead({ topic: 'product-events' })).toEqual([])
      expect(await dead({ group: '' })).toEqual([])
    })

    it('delivered again as they were, under their own ids, to the group that refused them alone', async () => {
      overrideEnvironment({ BAGGAGE_KEYS: 'tenant' })
      const productId = randomUUID()
      const events: LoggedEvent[] = []
      let isMended = false
      const follower = start('group', (event) => {
        events.push(event)
        return isMended || event.version > 1 ? acknowledge : reject
      })
      const other = start('other')
      const trace = { ...context().trace, tracestate: 'a=1', baggage: 'tenant=1' }
      await publish(sql, [newEvent(productId, 1, { data: { text: 'ü', list: [1] }, trace })])
      await relayOutbox(context())
      await log([2], productId)
      await seen(follower, [1, 2])
      await seen(other, [1, 2])
      await isDead(1)
      isMended = true
      expect(await redrive()).toBe(1)
      expect(await dead()).toEqual([])
      await seen(follower, [1, 2, 1])
      await isQueueEmpty()
      // A redriven event does not come from a partition.
      expect(events[2]).toEqual({ ...events[0], partition: undefined })
      expect(events[2]).toMatchObject(trace)
      expect(other.versions).toEqual([1, 2])
      expect(await sql`select 1 from dead_events`).toHaveLength(0)
      expect(await redrive()).toBe(0)
    })

    it('dead again where they are refused again, as the newest, and a request for the death before redrives nothing', async () => {
      const follower = start('group', ({ version }) => (version < 3 ? reject : acknowledge))
      await log([1, 2, 3])
      await seen(follower, [1, 2, 3])
      await isDead(2)
      const first = (await dead()).find(({ version }) => version === 1)
      expect(await redrive([first?.id ?? ''])).toBe(1)
      await until(async () => expect(versions(await dead())).toEqual([1, 2]))
      const [again] = await dead()
      expect(again?.id).not.toBe(first?.id)
      expect(again?.eventId).toBe(first?.eventId)
      expect(await redrive([first?.id ?? ''])).toBe(0)
      expect(follower.versions).toEqual([1, 2, 3, 1])
    })

    it('tried ten times more, and those of other products meanwhile', async () => {
      const [stuck, fine] = [randomUUID(), randomUUID()]
      let isMended = false
      const tries: string[] = []
      start('group', ({ productId }) => {
        if (!isMended) return reject
        tries.push(productId)
        return productId === stuck ? retry : acknowledge
      })
      await log([1], stuck)
      await log([1], fine)
      await isDead(2)
      isMended = true
      const deliveries = await metric('stream_redeliveries_total{group="group",step="retry"}')
      expect(await redrive()).toBe(2)
      await until(async () =>
        expect(await dead()).toMatchObject([{ productId: stuck, error: retry.error, attempts: 10 }]),
      )
      await isQueueEmpty()
      expect(tries.filter((productId) => productId === stuck)).toHaveLength(ATTEMPTS_MAX)
      expect(tries.filter((productId) => productId === fine)).toHaveLength(1)
      expect(await metric('stream_redeliveries_total{group="group",step="retry"}')).toBe(deliveries + ATTEMPTS_MAX - 1)
    })

    it('tried for as long as what they need is away, which is no attempt', async () => {
      const outage: Outcome = { verdict: 'retry', error: 'unavailable: away', isOutage: true }
      const outcomes = [reject, ...Array<Outcome>(2 * ATTEMPTS_MAX).fill(outage)]
      const follower = start('group', () => outcomes.shift() ?? acknowledge)
      await log([1])
      await isDead(1)
      await redrive()
      await seen(follower, Array<number>(2 * ATTEMPTS_MAX + 2).fill(1))
      await isQueueEmpty()
      expect(await dead()).toEqual([])
    })

    it('delivered in the order of their product, while others are delivered beside them', async () => {
      const [x = '', y = ''] = [randomUUID(), randomUUID()].sort()
      let isMended = false
      const { opened, open } = gate()
      const delivered: string[] = []
      const deliver = async ({ productId, version }: LoggedEvent) => {
        if (!isMended) return reject
        if (productId === x && version === 1) await opened
        delivered.push(`${productId} ${version}`)
        if (productId === y) open()
        return acknowledge
      }
      start('group', deliver)
      start('group', deliver)
      await log([1, 2, 3], x)
      await log([1], y)
      await isDead(4)
      isMended = true
      expect(await redrive((await dead()).map(({ id }) => id))).toBe(4)
      await isQueueEmpty()
      expect(delivered).toEqual([`${y} 1`, `${x} 1`, `${x} 2`, `${x} 3`])
    })

    it('redriven and delivered once, however many ask and deliver at the same time', async () => {
      const products = Array.from({ length: 20 }, () => randomUUID())
      let isMended = false
      const delivered: string[] = []
      const deliver = async ({ productId }: LoggedEvent) => {
        if (!isMended) return reject
        delivered.push(productId)
        return acknowledge
      }
      for (let count = 0; count < 3; count++) start('group', deliver)
      await publish(
        sql,
        products.map((productId) => newEvent(productId, 1)),
      )
      await relayOutbox(context())
      await isDead(products.length)
      isMended = true
      const ids = (await dead()).map(({ id }) => id)
      const counts = await Promise.all([redrive(), redrive(ids), redrive(ids.toReversed()), redrive()])
      expect(counts.reduce((sum, count) => sum + count)).toBe(products.length)
      await isQueueEmpty()
      expect(delivered.sort()).toEqual(products.sort())
    })

    it('not lost where a follower is gone in the middle of one: another delivers it, and what the first does is not recorded', async () => {
      const [frozen, busy] = [gate(), gate()]
      let isMended = false
      const first = start('group', async ({ version }) => {
        if (version === 2) return acknowledge
        if (!isMended) return reject
        await frozen.opened
        return retry
      })
      await log([1, 2])
      await seen(first, [1, 2])
      await isDead(1)
      isMended = true
      await redrive()
      await seen(first, [1, 2, 1])
      const state = async () => (await sql`select attempts, lease, due_at > now() as "isLeased" from dead_events`)[0]
      expect(await state()).toEqual({ attempts: 1, lease: expect.any(String), isLeased: true })
      await loseLease(1)
      const second = start('group', () => busy.opened.then(() => acknowledge))
      await seen(second, [1])
      const taken = await state()
      expect(taken).toMatchObject({ attempts: 2, isLeased: true })
      frozen.open()
      await first.stop()
      expect(await state()).toEqual(taken)
      busy.open()
      await until(async () => expect(await sql`select 1 from dead_events`).toHaveLength(0))
    })

    it('dead where they have crashed ten followers, and no other tries them', async () => {
      const { opened, open } = gate()
      let isMended = false
      const first = start('group', () => (isMended ? opened.then(() => acknowledge) : reject))
      await log([1])
      await isDead(1)
      isMended = true
      await redrive()
      await seen(first, [1, 1])
      await loseLease(ATTEMPTS_MAX)
      const second = start('group')
      await until(async () =>
        expect(await dead()).toMatchObject([{ version: 1, attempts: 10, error: expect.stringContaining('crashed') }]),
      )
      open()
      await first.stop()
      expect(second.versions).toEqual([])
      expect(await dead()).toHaveLength(1)
    })

    it('done once by an effect that had been done before they died', async () => {
      let isMended = false
      const effects: number[] = []
      const follower = start('group', async ({ id, version }) => {
        await transaction(context(), async (tx) => {
          if (await oncePerEvent(tx, 'group', id)) effects.push(version)
        })
        return isMended ? acknowledge : reject
      })
      await log([1])
      await isDead(1)
      isMended = true
      await redrive()
      await seen(follower, [1, 1])
      expect(effects).toEqual([1])
    })

    it('redelivered while the log has nothing new, and after a restart of the follower', async () => {
      const follower = picky('group', [1])
      await log([1])
      await isDead(1)
      await stopFollowing()
      expect(await redrive()).toBe(1)
      expect(follower.versions).toEqual([1])
      await seen(start('group'), [1])
    })

    it('still where the log has them, too: in the dead-letter topic, or the table', async () => {
      const follower = picky('group', [1])
      await log([1, 2])
      await seen(follower, [1, 2])
      await isDead(1)
      await until(async () =>
        expect(await deadEvents(topic, 'group')).toEqual([
          { version: 1, error: 'validation_failed: nonsense', attempts: 1 },
        ]),
      )
    })
  })
})
