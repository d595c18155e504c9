import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { type Sql, systemContext } from '#database'
import { renderMetrics } from '#telemetry'
import { expectConsistent, hold, inRivalSession, newProduct, sql, stockAt } from '#testing'
import { appendFromOutbox } from '../postgres/log.ts'
import { type NewEvent, publish } from './outbox.ts'
import { relayOutbox } from './relay.ts'
import { RELAY_LOCK } from './relay-turn.ts'

const context = () => systemContext('function:test')
const relay = () => relayOutbox(context())

function event(productId: string, version: number): NewEvent {
  return { type: 'stock.adjusted', productId, version, data: { productId, version }, trace: context().trace }
}

const write = (tx: Sql, productId: string, version: number) => publish(tx, [event(productId, version)])
const log = () => sql<Array<{ productId: string; version: number }>>`
  select product_id as "productId", version from event_log order by position`
const logged = async () => (await log()).map(({ productId, version }) => [productId, version])
const waiting = async () => (await sql`select id from outbox`).length

async function relayUntilEmpty(): Promise<void> {
  for (let run = 0; run < 1_000 && (await waiting()) > 0; run++) await relay()
}

beforeEach(async () => {
  await sql`truncate outbox, event_log, event_groups`
})

describe('the relay', () => {
  it('publishes a row that commits after rows with higher sequences, and keeps each product in order', async () => {
    const [x, y, z] = [randomUUID(), randomUUID(), randomUUID()]
    await inRivalSession(async (rival) => {
      // A transaction over two products: it draws its first sequence, and its transaction id, before all others.
      await write(rival, x, 1)
      await write(sql, y, 1)
      await relay()
      expect(await logged()).toEqual([[y, 1]])
      await write(rival, y, 2)
      await write(sql, z, 1)
      await relay()
      expect(await logged()).toEqual([
        [y, 1],
        [z, 1],
      ])
      await rival`commit`
    })
    await relay()
    expect(await logged()).toEqual([
      [y, 1],
      [z, 1],
      [x, 1],
      [y, 2],
    ])
    expect(await waiting()).toBe(0)
  })

  it('publishes what a hundred racing changes wrote once each, in the order of each product, with two relays at once', async () => {
    const products = await Promise.all([1, 2, 3, 4, 5].map(() => newProduct({ initialStock: 10_000 })))
    const any = () => products[Math.floor(Math.random() * products.length)]?.id ?? ''
    const changes = Array.from({ length: 50 }, () => [
      stockAt(any(), 'main', 1),
      hold([any(), any()].map((productId) => ({ productId, quantity: 1 }))),
    ])
    const written = Promise.all(changes.flat())
    let isWritten = false
    const relaying = [1, 2].map(async () => {
      for (let run = 0; run < 10_000 && !isWritten; run++) await relay()
    })
    await written
    isWritten = true
    await Promise.all(relaying)
    await relayUntilEmpty()

    const ids = await sql`select distinct id from event_log`
    const events = await logged()
    expect(events).toHaveLength(ids.length)
    for (const { id } of products) {
      const versions = events.filter(([productId]) => productId === id).map(([, version]) => version)
      expect(versions).toEqual(versions.map((_, index) => index + 1))
    }
    await expectConsistent()
  })

  it('publishes nothing twice and loses nothing when it ends before its commit', async () => {
    const products = [randomUUID(), randomUUID(), randomUUID()]
    for (const productId of products) await write(sql, productId, 1)
    await inRivalSession(async (rival) => {
      expect(await appendFromOutbox(rival, 2)).toBe(2)
    })
    expect([await waiting(), await logged()]).toEqual([3, []])
    expect(await relay()).toBe(3)
    expect(await relay()).toBe(0)
    expect(await logged()).toEqual(products.map((productId) => [productId, 1]))
  })

  it('leaves everything to a relay that is at work', async () => {
    await write(sql, randomUUID(), 1)
    await inRivalSession(async (rival) => {
      await rival`select pg_advisory_xact_lock(${RELAY_LOCK})`
      expect(await relay()).toBe(0)
      expect(await waiting()).toBe(1)
    })
    expect(await relay()).toBe(1)
  })

  it('empties an outbox of many batches in one run, in the order of the sequence', async () => {
    await sql`
      insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent, tracestate)
      select gen_random_uuid(), 'stock-events', 'stock.adjusted', gen_random_uuid(), number, '{"a": "ü"}', now(), 'trace', 'state'
      from generate_series(1, 2500) as number`
    const before = await sql`
      select topic, id, type, product_id, version, data, occurred_at, traceparent, tracestate from outbox order by sequence`
    expect(await relay()).toBe(2_500)
    const after = await sql`
      select topic, id, type, product_id, version, data, occurred_at, traceparent, tracestate from event_log order by position`
    expect([...after]).toEqual([...before])
  })

  it('works off a backlog in one run also where the planner knows the outbox as empty', async () => {
    await write(sql, randomUUID(), 1)
    await relay()
    // As autovacuum does at some time. A join that was planned for no rows took longer than the time-out allows.
    await sql`analyze outbox`
    await sql`
      insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
      select gen_random_uuid(), 'stock-events', 'stock.adjusted', gen_random_uuid(), 1, '{}', now(), 'trace'
      from generate_series(1, 20000)`
    expect(await relay()).toBe(20_000)
  })

  it('tells how many events it has published', async () => {
    await write(sql, randomUUID(), 1)
    const before = await metric('outbox_published_total')
    await relay()
    await relay()
    expect(await metric('outbox_published_total')).toBe(before + 1)
  })

  it('says so where events are to go to something that there is no adapter for', async () => {
    overrideEnvironment({ EVENTS_URL: 'amqp://127.0.0.1' })
    await write(sql, randomUUID(), 1)
    await expect(relay()).rejects.toThrow('EVENTS_URL: must be postgres:')
    overrideEnvironment({ EVENTS_URL: undefined })
  })
})

async function metric(name: string): Promise<number> {
  return Number(new RegExp(`^${name} (\\S+)`, 'm').exec(await renderMetrics())?.[1] ?? 0)
}
