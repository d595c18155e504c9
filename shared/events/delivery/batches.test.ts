import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import type { Outcome } from '#errors'
import { closeRelay, type Following, follow, type LoggedEvent, relayOutbox } from '#events'
import { sql } from '#testing'
import { publish } from '../outbox/outbox.ts'
import { adapters } from '../testing/adapters.ts'
import { acknowledge, context, newEvent, topic, until } from '../testing/events.ts'
import { ATTEMPTS_MAX } from './waits.ts'

// Retries have no delay here.
vi.mock('./waits.ts', async (original) => ({ ...(await original<typeof import('./waits.ts')>()), backoffMs: () => 1 }))

const MAX = 100
const retry: Outcome = { verdict: 'retry', error: 'internal: not now' }
const outage: Outcome = { verdict: 'retry', error: 'unavailable: away', isOutage: true }

type Answer = (events: readonly LoggedEvent[]) => readonly Outcome[] | Exclude<Outcome, { verdict: 'acknowledge' }>

/** A follower that takes batches. An event that comes alone is answered like one in a batch. */
interface BatchFollower extends Following {
  /** The sizes of the deliveries, and each acknowledged event, as product and version. */
  sizes: number[]
  done: string[]
  /** How often each event was delivered. */
  deliveries: Map<string, number>
}

const started: Following[] = []
const nameOf = ({ productId, version }: LoggedEvent) => `${productId} ${version}`

function startBatches(answer: Answer = (events) => events.map(() => acknowledge), done: string[] = []): BatchFollower {
  const [sizes, deliveries] = [[] as number[], new Map<string, number>()]
  const take = (events: readonly LoggedEvent[]) => {
    sizes.push(events.length)
    for (const event of events) deliveries.set(nameOf(event), (deliveries.get(nameOf(event)) ?? 0) + 1)
    const answered = answer(events)
    if ('verdict' in answered) return answered
    const waiting = new Set<string>()
    for (const [index, event] of events.entries()) {
      if (answered[index]?.verdict === 'retry') waiting.add(event.productId)
      if (answered[index]?.verdict === 'acknowledge' && !waiting.has(event.productId)) done.push(nameOf(event))
    }
    return answered
  }
  const following = follow({
    topics: [topic],
    group: 'group',
    async deliver(event) {
      const answered = take([event])
      return 'verdict' in answered ? answered : (answered[0] ?? acknowledge)
    },
    batch: { max: MAX, waitMs: 0, deliver: async (events) => take(events) },
  })
  started.push(following)
  return { ...following, sizes, done, deliveries }
}

/** Publishes `count` versions of each product from `first` on, one product after the other for each version. */
async function logAll(products: readonly string[], count: number, first = 1): Promise<void> {
  const versions = Array.from({ length: count }, (_, index) => first + index)
  await publish(
    sql,
    versions.flatMap((version) => products.map((productId) => newEvent(productId, version))),
  )
  await relayOutbox(context())
}

const newProducts = (count: number) => Array.from({ length: count }, () => randomUUID())
const versionsOf = (productId: string, done: readonly string[]) =>
  done.filter((name) => name.startsWith(productId)).map((name) => Number(name.split(' ')[1]))
const range = (last: number) => Array.from({ length: last }, (_, index) => index + 1)

/** Answers each event separately. */
const each =
  (answer: (event: LoggedEvent) => Outcome | undefined): Answer =>
  (events) =>
    events.map((event) => answer(event) ?? acknowledge)

afterAll(async () => {
  overrideEnvironment({ EVENTS_URL: undefined })
  await closeRelay()
})

describe.each(adapters)('batches of events $name', ({ isThere, reset, deadEvents, isThrough }) => {
  describe.skipIf(!isThere)('are', () => {
    const through = () => until(async () => expect(await isThrough(topic, 'group')).toBe(true))

    beforeEach(reset)
    afterEach(() => Promise.all(started.splice(0).map((following) => following.stop())))

    it('delivered together, no more than asked for, each event once and in the order of its product', async () => {
      const products = newProducts(20)
      await logAll(products, 20)
      const follower = startBatches()
      await until(() => expect(follower.done).toHaveLength(400))
      await through()
      expect(Math.max(...follower.sizes)).toBeGreaterThan(20)
      expect(Math.max(...follower.sizes)).toBeLessThanOrEqual(MAX)
      for (const productId of products) expect(versionsOf(productId, follower.done)).toEqual(range(20))
    })

    it('done but for what is to be retried, which holds back its own product and no other', async () => {
      const products = newProducts(10)
      const [stuck = ''] = products
      let isMended = false
      const follower = startBatches(
        each((event) => (event.productId === stuck && event.version === 3 && !isMended ? outage : undefined)),
      )
      await logAll(products, 10)
      await until(() => expect(follower.done).toHaveLength(9 * 10 + 2))
      // Later events do not wait either.
      await logAll(products, 10, 11)
      await until(() => expect(follower.done).toHaveLength(9 * 20 + 2))
      expect(versionsOf(stuck, follower.done)).toEqual([1, 2])
      isMended = true
      await through()
      for (const productId of products) expect(versionsOf(productId, follower.done)).toEqual(range(20))
      expect(await deadEvents(topic, 'group')).toEqual([])
    })

    it('done but for what is rejected, which is dead-lettered alone, and its product goes on', async () => {
      const products = newProducts(5)
      const follower = startBatches(
        each(({ productId, version }) =>
          productId === products[0] && version === 3 ? { verdict: 'reject', error: 'sku_taken: no' } : undefined,
        ),
      )
      await logAll(products, 5)
      await through()
      expect(follower.done).toHaveLength(24)
      expect(versionsOf(products[0] ?? '', follower.done)).toEqual([1, 2, 4, 5])
      expect(await deadEvents(topic, 'group')).toEqual([{ version: 3, error: 'sku_taken: no', attempts: 1 }])
    })

    it('counted event by event: one that never succeeds is dead-lettered alone after its attempts', async () => {
      const products = newProducts(5)
      const [stuck = ''] = products
      const follower = startBatches(
        each(({ productId, version }) => (productId === stuck && version === 2 ? retry : undefined)),
      )
      await logAll(products, 4)
      await through()
      expect(await deadEvents(topic, 'group')).toEqual([
        { version: 2, error: 'internal: not now', attempts: ATTEMPTS_MAX },
      ])
      expect(follower.deliveries.get(`${stuck} 2`)).toBe(ATTEMPTS_MAX)
      expect(versionsOf(stuck, follower.done)).toEqual([1, 3, 4])
      for (const productId of products.slice(1)) expect(versionsOf(productId, follower.done)).toEqual(range(4))
    })

    it('taken apart where they fail as a whole, so that only the event at fault is counted to death', async () => {
      const products = newProducts(5)
      const [poison = ''] = products
      const follower = startBatches((events) =>
        events.some(({ productId, version }) => productId === poison && version === 2)
          ? { verdict: 'retry', error: 'internal: a defect' }
          : events.map(() => acknowledge),
      )
      await logAll(products, 4)
      await through()
      expect(await deadEvents(topic, 'group')).toEqual([
        { version: 2, error: 'internal: a defect', attempts: ATTEMPTS_MAX },
      ])
      for (const productId of products.slice(1)) expect(versionsOf(productId, follower.done)).toEqual(range(4))
      expect(versionsOf(poison, follower.done)).toEqual([1, 3, 4])
      // Once with the event at fault, and once alone.
      for (const productId of products.slice(1))
        expect(follower.deliveries.get(`${productId} 1`)).toBeLessThanOrEqual(2)
    })

    it('tried for as long as what they need is away, and no event is counted', async () => {
      const products = newProducts(5)
      let tries = 0
      const follower = startBatches((events) => (tries++ < 3 * ATTEMPTS_MAX ? outage : events.map(() => acknowledge)))
      await logAll(products, 4)
      await through()
      expect(follower.done).toHaveLength(20)
      expect(await deadEvents(topic, 'group')).toEqual([])
    })

    it('left where they are while too many products wait, and delivered when those go on', async () => {
      const products = newProducts(200)
      let isMended = false
      const follower = startBatches(each(({ version }) => (version === 1 && !isMended ? outage : undefined)))
      await logAll(products, 3)
      await until(() => expect(follower.sizes.length).toBeGreaterThan(100))
      expect(follower.done).toEqual([])
      isMended = true
      await through()
      for (const productId of products) expect(versionsOf(productId, follower.done)).toEqual(range(3))
    })

    it('not delivered again after a stop, though an event before them waits, and that keeps its attempts', async () => {
      const products = newProducts(10)
      const [stuck = ''] = products
      let failures = 0
      const stopped = startBatches(
        each((event) => {
          if (event.productId !== stuck || event.version !== 2) return undefined
          return failures++ < 4 ? retry : outage
        }),
      )
      await logAll([stuck], 3)
      await until(() => expect(failures).toBeGreaterThan(4))
      await logAll(products.slice(1), 10)
      await until(() => expect(stopped.done).toHaveLength(91))
      await stopped.stop()
      const next = startBatches(
        each(({ productId, version }) => (productId === stuck && version === 2 ? retry : undefined)),
      )
      await logAll(products, 2, 11)
      await through()
      expect(next.done).toEqual(expect.arrayContaining([`${stuck} 3`, `${stuck} 11`, `${stuck} 12`]))
      expect(next.done).toHaveLength(3 + 9 * 2)
      expect(next.deliveries.get(`${stuck} 2`)).toBe(ATTEMPTS_MAX - 4)
      expect(await deadEvents(topic, 'group')).toEqual([
        { version: 2, error: 'internal: not now', attempts: ATTEMPTS_MAX },
      ])
    })

    it('each delivered, in the order of its product, while followers come and go and some events wait', async () => {
      const products = newProducts(12)
      const done: string[] = []
      const answer = each(() => (Math.random() < 0.05 ? outage : acknowledge))
      const first = startBatches(answer, done)
      await logAll(products, 10)
      startBatches(answer, done)
      await logAll(products, 10, 11)
      await until(() => expect(done.length).toBeGreaterThan(60))
      await first.stop()
      await logAll(products, 10, 21)
      startBatches(answer, done)
      await logAll(products, 10, 31)
      await through()
      // An event that is delivered twice had been done before.
      for (const productId of products) expect([...new Set(versionsOf(productId, done))]).toEqual(range(40))
    })
  })
})
