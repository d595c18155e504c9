import { beforeEach, describe, expect, it, vi } from 'vitest'
import { eventRequest } from '#function'
import {
  call,
  expectNoEffect,
  expire,
  functionNamed,
  hold,
  inRivalSession,
  newProduct,
  sql,
  statementsOf,
  stockAt,
} from '#testing'
import notifyWebhooks from './index.ts'

interface Told {
  id: string
  type: string
  topic: string
  productId: string
  data: Record<string, unknown>
  occurredAt: Date
}

const [createWebhook, updateWebhook, deleteWebhook, getReservation] = await Promise.all([
  functionNamed('create-webhook'),
  functionNamed('update-webhook'),
  functionNamed('delete-webhook'),
  functionNamed('get-reservation'),
])

const { wants } = notifyWebhooks.trigger as { wants: (type: string) => Promise<boolean> }

async function webhookFor(...events: string[]): Promise<string> {
  return (await call(createWebhook, { body: { url: 'https://shop.example/', events } })).body.id
}

const told = () => sql<Told[]>`
  select id, type, topic, product_id as "productId", data, occurred_at as "occurredAt" from outbox order by sequence`

async function deliver(event: Told, time: Date = event.occurredAt): Promise<number> {
  const { id, type, topic, productId, data } = event
  const attributes = { id, source: `/topics/${topic}`, specversion: '1.0', type, subject: productId } as const
  const response = await notifyWebhooks.app.fetch(eventRequest({ ...attributes, time: time.toISOString() }, data))
  expect(response.status).toBe(200)
  const { jobs: queued } = (await response.json()) as { jobs: number }
  return queued
}

async function deliverAll(): Promise<number> {
  let jobs = 0
  for (const event of await told()) jobs += await deliver(event)
  return jobs
}

const jobs = async () =>
  (await sql`select type, payload, attempts_max, actor, traceparent from jobs order by id`).slice()
const payloads = async () => (await jobs()).map(({ payload }) => payload)

beforeEach(async () => {
  await sql`truncate webhooks, jobs, outbox cascade`
})

describe('notify-webhooks', () => {
  it('tells a webhook that was made while the clock was ahead of what is from now on, and not of what was long before', async () => {
    await webhookFor('stock.adjusted')
    await sql`update webhooks set enabled_at = now() + interval '1 hour'`
    await newProduct({ initialStock: 3 })
    const adjusted = (await told()).find(({ type }) => type === 'stock.adjusted')
    if (!adjusted) throw new Error('there is no event')
    expect(await deliver(adjusted)).toBe(1)
    expect(await deliver({ ...adjusted, id: crypto.randomUUID() }, new Date(Date.now() - 120_000))).toBe(0)
  })

  it('tells one that was enabled again of what is from then on, and of nothing from before', async () => {
    const webhookId = await webhookFor('stock.adjusted')
    await sql`update webhooks set created_at = now() - interval '1 day', enabled_at = now() - interval '1 day'`
    const change = (enabled: boolean) => call(updateWebhook, { params: { webhookId }, body: { enabled } })
    await newProduct({ initialStock: 3 })
    const adjusted = (await told()).find(({ type }) => type === 'stock.adjusted')
    if (!adjusted) throw new Error('there is no event')
    const before = { ...adjusted, id: crypto.randomUUID(), occurredAt: new Date(Date.now() - 120_000) }
    await change(true)
    expect(await deliver({ ...before, id: crypto.randomUUID() })).toBe(1)
    await change(false)
    await change(true)
    expect(await deliver(before)).toBe(0)
    expect(await deliver(adjusted)).toBe(1)
  })

  it('queues an event for each webhook that asks for its type, whole, and without a secret', async () => {
    const [one, two] = [await webhookFor('stock.adjusted'), await webhookFor('stock.adjusted', 'product.created')]
    await webhookFor('stock.low')
    const product = await newProduct({ initialStock: 3 })
    const [created, adjusted] = await told()
    if (!created || !adjusted) throw new Error('there are no events')
    expect(await deliver(created)).toBe(1)
    expect(await deliver(adjusted)).toBe(2)
    const sent = ({ id, type, topic, data, occurredAt }: Told) => ({
      id,
      source: `/topics/${topic}`,
      type,
      subject: product.id,
      time: occurredAt.toISOString(),
      data,
    })
    expect(await payloads()).toEqual(
      expect.arrayContaining([
        { webhookId: two, event: sent(created) },
        { webhookId: one, event: sent(adjusted) },
        { webhookId: two, event: sent(adjusted) },
      ]),
    )
    const [job] = await jobs()
    expect(job).toMatchObject({ type: 'deliver-webhook', attempts_max: 10, actor: 'function:notify-webhooks' })
    expect(JSON.stringify(await jobs())).not.toContain('whsec_')
  })

  it('queues an event once, however often it comes, also at the same time', async () => {
    await webhookFor('stock.adjusted')
    await newProduct({ initialStock: 3 })
    const event = (await told()).at(-1)
    if (!event) throw new Error('there is no event')
    const counts = await Promise.all([1, 2, 3, 4].map(() => deliver(event)))
    expect(counts.sort()).toEqual([0, 0, 0, 1])
    await webhookFor('stock.adjusted')
    expect(await deliver(event)).toBe(0)
    expect(await jobs()).toHaveLength(1)
  })

  it('remembers an event with its jobs or not at all', async () => {
    await webhookFor('stock.adjusted')
    const { id } = await newProduct()
    // An event that no job can carry: its inbox row is rolled back with the jobs.
    await stockAt(id, 'main', 1)
    const event = (await told()).at(-1)
    if (!event) throw new Error('there is no event')
    const attributes = { id: event.id, source: 'test', specversion: '1.0', type: 'stock.adjusted' } as const
    await expectNoEffect(async () => {
      const data = { ...event.data, note: 'x'.repeat(200_000) }
      const response = await notifyWebhooks.app.fetch(eventRequest(attributes, data))
      expect(response.ok).toBe(false)
    })
    expect(await deliver(event)).toBe(1)
  })

  it('queues what is committed after a webhook was made, also if its transaction began before', async () => {
    const { id } = await newProduct({ initialStock: 3 })
    await sql`truncate outbox`
    await inRivalSession(async (rival) => {
      await rival`
        insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
        values (gen_random_uuid(), 'stock-events', 'stock.adjusted', ${id}, 9, ${JSON.stringify({ productId: id })}::text::json, now(), '')`
      await webhookFor('stock.adjusted')
      await rival`commit`
    })
    expect(await deliverAll()).toBe(1)
  })

  it('misses nothing after a webhook’s answer by going by a list that was read just before it was made', async () => {
    for (let round = 0; round < 3; round++) {
      await vi.waitFor(async () => expect(await wants('stock.adjusted')).toBe(false), { interval: 1 })
      await webhookFor('stock.adjusted')
      await newProduct({ initialStock: 1 })
      expect(await wants('stock.adjusted')).toBe(true)
      expect(await deliver((await told()).at(-1) as Told)).toBe(1)
      await sql`truncate webhooks`
    }
  })

  it('queues nothing that was long before the webhook, nor for one that is deleted', async () => {
    const id = await webhookFor('stock.adjusted')
    await newProduct({ initialStock: 3 })
    const event = (await told()).at(-1)
    if (!event) throw new Error('there is no event')
    expect(await deliver({ ...event, id: crypto.randomUUID() }, new Date(Date.now() - 3_600_000))).toBe(0)
    await call(deleteWebhook, { params: { webhookId: id } })
    expect(await deliver(event)).toBe(0)
    expect(await jobs()).toEqual([])
  })

  it('asks the database for nothing where no webhook asks for the event', async () => {
    await webhookFor('stock.low')
    await newProduct({ initialStock: 3 })
    expect(await wants('stock.low')).toBe(true)
    expect(await wants('stock.adjusted')).toBe(false)
    expect(await wants('stock.expired')).toBe(false)
    await expectNoEffect(deliverAll)
  })
})

describe('a batch of events', () => {
  async function deliverTogether(events: readonly Told[]) {
    const sent = events.map(({ id, type, topic, productId, data, occurredAt }) => {
      const time = occurredAt.toISOString()
      return { id, source: `/topics/${topic}`, specversion: '1.0', type, subject: productId, time, data }
    })
    const headers = { 'content-type': 'application/cloudevents-batch+json' }
    const request = new Request('http://function/', { method: 'POST', headers, body: JSON.stringify(sent) })
    const response = await notifyWebhooks.app.fetch(request)
    expect(response.status).toBe(200)
    return response.json()
  }

  it('is queued for each webhook that asks for an event, once, also where one is there twice', async () => {
    const [one, two] = [await webhookFor('stock.adjusted'), await webhookFor('stock.adjusted', 'product.created')]
    for (let count = 0; count < 5; count++) await newProduct({ initialStock: 3 })
    const events = (await told()).slice()
    const statements = await statementsOf(async () => {
      expect(await deliverTogether([...events, ...events])).toEqual({ retry: [], reject: [] })
    })
    // Begin, the inbox, the webhooks, the jobs, commit and the position, and the list of subscribed types if it is too old.
    expect(statements).toBeLessThanOrEqual(7)
    const queued = (await payloads()).map(({ webhookId, event }) => `${webhookId} ${event.id}`)
    const expected = events.flatMap(({ id, type }) =>
      type === 'stock.adjusted' ? [`${one} ${id}`, `${two} ${id}`] : [`${two} ${id}`],
    )
    expect(queued.sort()).toEqual(expected.sort())
    await deliverTogether(events)
    expect(await jobs()).toHaveLength(expected.length)
  })

  it('is queued but for an event that no job can carry, which is named', async () => {
    await webhookFor('stock.adjusted')
    for (let count = 0; count < 3; count++) await newProduct({ initialStock: 3 })
    const events = (await told()).filter(({ type }) => type === 'stock.adjusted')
    const [first, second, third] = events
    if (!first || !second || !third) throw new Error('there are no events')
    const large = { ...second, data: { ...second.data, note: 'x'.repeat(200_000) } }
    expect(await deliverTogether([first, large, third])).toMatchObject({
      reject: [],
      retry: [{ index: 1, id: second.id }],
    })
    expect(await jobs()).toHaveLength(2)
    expect(await deliver(second)).toBe(1)
  })
})

describe('reservation.expired', () => {
  async function expired(lines: number) {
    const products = await Promise.all(Array.from({ length: lines }, () => newProduct({ initialStock: 5 })))
    const reservation = await hold(
      products.map(({ id }) => ({ productId: id, quantity: 2 })),
      { reference: 'cart-1', holder: 'ann' },
    )
    await expire(reservation.id)
    const [product] = products
    if (!product) throw new Error('there is no product')
    await stockAt(product.id, 'main', 1)
    return { reservation, events: (await told()).filter(({ type }) => type === 'stock.expired') }
  }

  it('is told once of a reservation, with all of its lines', async () => {
    const webhookId = await webhookFor('reservation.expired')
    const { reservation, events } = await expired(3)
    expect(events).toHaveLength(3)
    const counts = await Promise.all([...events, ...events].map((event) => deliver(event)))
    expect(counts.sort()).toEqual([0, 0, 0, 0, 0, 1])
    const shown = (await call(getReservation, { params: { reservationId: reservation.id } })).body
    expect(shown).toMatchObject({ state: 'expired', holder: 'ann', lines: [{ quantity: 2 }, {}, {}] })
    expect(await payloads()).toEqual([
      {
        webhookId,
        event: {
          id: reservation.id,
          source: '/v1/reservations',
          type: 'reservation.expired',
          subject: reservation.id,
          time: events[0]?.occurredAt.toISOString(),
          data: shown,
        },
      },
    ])
  })

  it('is told beside stock.expired, of which each line has one', async () => {
    await webhookFor('reservation.expired', 'stock.expired')
    const { events } = await expired(2)
    for (const event of events) await deliver(event)
    const types = (await payloads()).map(({ event }) => event.type)
    expect(types.sort()).toEqual(['reservation.expired', 'stock.expired', 'stock.expired'])
  })

  it('is wanted with stock.expired, and with nothing else', async () => {
    await webhookFor('reservation.expired')
    expect(await wants('stock.expired')).toBe(true)
    expect(await wants('stock.released')).toBe(false)
  })
})
