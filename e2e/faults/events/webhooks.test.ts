import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { relayOutbox } from '#events'
import { type RunningTrigger, startQueue, startStream } from '#function/triggers'
import { call, expire, hold, newProduct, openReceiver, type Receiver, sql } from '#testing'
import adjustStock from '../../../functions/adjust-stock/index.ts'
import createWebhook from '../../../functions/create-webhook/index.ts'
import deleteWebhook from '../../../functions/delete-webhook/index.ts'
import detectLowStock from '../../../functions/detect-low-stock/index.ts'
import listDeadLetters from '../../../functions/list-dead-letters/index.ts'
import listWebhooks from '../../../functions/list-webhooks/index.ts'
import notifyWebhooks from '../../../functions/notify-webhooks/index.ts'
import processJob from '../../../functions/process-job/index.ts'
import redriveDeadLetters from '../../../functions/redrive-dead-letters/index.ts'
import rotateWebhookSecret from '../../../functions/rotate-webhook-secret/index.ts'
import updateWebhook from '../../../functions/update-webhook/index.ts'

// From a change of stock to a receiver that verifies its deliveries: every function on the way runs with its own trigger.

const triggers: RunningTrigger[] = []
const receivers: Receiver[] = []
let answers: number[]

const until = (check: () => unknown) => vi.waitFor(check, { timeout: 20_000, interval: 20 })

/** Makes a receiver that answers with `answers`, one after the other, and then with 204, and a webhook for it. */
async function webhookFor(...events: string[]) {
  const receiver = await openReceiver(() => answers.shift() ?? 204)
  receivers.push(receiver)
  const { status, body } = await call(createWebhook, { body: { url: receiver.url, events } })
  expect(status).toBe(201)
  const verified = () =>
    receiver.received.map(({ body: text, headers }) =>
      new Webhook(body.secret).verify(text, headers as Record<string, string>),
    )
  return { id: body.id as string, received: receiver.received, verified }
}

async function adjust(productId: string, quantity: number): Promise<void> {
  const { status } = await call(adjustStock, { params: { productId }, body: { quantity, reason: 'correction' } })
  expect(status).toBe(201)
}

/** Publishes until no event is left to follow, and no job is left to do. */
async function settle(): Promise<void> {
  await until(async () => {
    await relayOutbox(systemContext('function:test'))
    const [row] = await sql`
      select (select count(*)::int from outbox) as waiting,
        (select count(*)::int from event_log as log join event_groups as reader using (topic) where log.position > reader.position) as behind,
        (select count(*)::int from jobs where state in ('queued', 'running', 'retrying')) as open`
    expect(row).toEqual({ waiting: 0, behind: 0, open: 0 })
  })
}

function start(): void {
  triggers.push(startStream(detectLowStock), startStream(notifyWebhooks), startQueue(processJob))
}

beforeAll(async () => {
  overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: '1' })
  start()
  // Each of the two groups follows both topics.
  await until(async () => expect(await sql`select 1 from event_groups`).toHaveLength(4))
})

beforeEach(() => {
  answers = []
})

afterEach(async () => {
  await sql`truncate webhooks`
  await Promise.all(receivers.splice(0).map(({ close }) => close()))
})

afterAll(async () => {
  await Promise.all(triggers.map((trigger) => trigger.stop()))
  overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: undefined })
})

it('a product that runs low is told of once, and again when it is back', async () => {
  const { received, verified } = await webhookFor('stock.low', 'stock.back')
  const { id, sku } = await newProduct({ lowStockThreshold: 5, initialStock: 10 })
  await adjust(id, -6)
  await adjust(id, -1)
  await settle()
  await adjust(id, 20)
  await settle()
  expect(verified()).toMatchObject([
    { specversion: '1.0', type: 'stock.low', source: '/topics/stock-events', subject: id, data: { sku } },
    { type: 'stock.back', data: { productId: id, stock: { available: 23 } } },
  ])
  expect(received[0]?.headers['content-type']).toBe('application/cloudevents+json')
})

it('events that come again make no second job', async () => {
  const { id: webhookId, received } = await webhookFor('stock.low')
  const { id } = await newProduct({ lowStockThreshold: 5, initialStock: 6 })
  await adjust(id, -2)
  await settle()
  // As if a follower had died before it saved its position.
  await Promise.all(triggers.splice(0).map((trigger) => trigger.stop()))
  await sql`update event_groups set position = 0`
  start()
  await settle()
  expect(received).toHaveLength(1)
  expect(await sql`select 1 from jobs where payload ->> 'webhookId' = ${webhookId}`).toHaveLength(1)
})

it('a delivery that fails is made again, under the same id', async () => {
  answers = [500, 302]
  const { received, verified } = await webhookFor('stock.out')
  const { id } = await newProduct({ initialStock: 1 })
  await adjust(id, -1)
  await settle()
  expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
  expect(verified()).toHaveLength(3)
  const [job] = await sql`select state, attempts, result from jobs order by id desc limit 1`
  expect(job).toEqual({ state: 'succeeded', attempts: 3, result: { delivered: true, status: 204 } })
})

it('a secret is rotated: each delivery can be verified by the old one and the new one, until the old one’s day is over', async () => {
  const { id: webhookId, received, verified } = await webhookFor('stock.adjusted')
  const { id } = await newProduct({ initialStock: 1 })
  await settle()
  const { status, body } = await call(rotateWebhookSecret, { params: { webhookId } })
  expect(status).toBe(200)
  await adjust(id, 1)
  await settle()
  const byNew = () => {
    const last = received.at(-1)
    return new Webhook(body.secret).verify(last?.body ?? '', last?.headers as Record<string, string>)
  }
  // The receiver first knows only the first secret, and then only the second.
  expect(verified()).toHaveLength(2)
  expect(byNew()).toMatchObject({ type: 'stock.adjusted', subject: id })
  await sql`update webhooks set previous_secrets_until = now()`
  await adjust(id, 1)
  await settle()
  expect(received).toHaveLength(3)
  expect(byNew()).toMatchObject({ type: 'stock.adjusted' })
  expect(verified).toThrow('No matching signature found')
})

it('a receiver that is gone makes a dead letter at once, which shows no secret and can be redriven', async () => {
  answers = [410]
  const { id: webhookId, received } = await webhookFor('stock.out')
  const { id } = await newProduct({ initialStock: 1 })
  await adjust(id, -1)
  await settle()
  expect((await call(listWebhooks)).body.items).toMatchObject([{ enabled: false, disabledReason: 'gone' }])
  const { body } = await call(listDeadLetters)
  expect(body.items).toMatchObject([
    {
      type: 'deliver-webhook',
      attempts: 1,
      error: expect.stringContaining('410'),
      payload: { event: { subject: id } },
    },
  ])
  expect(JSON.stringify(body)).not.toContain('whsec_')
  await call(updateWebhook, { params: { webhookId }, body: { enabled: true } })
  await call(redriveDeadLetters, { body: {} })
  await settle()
  expect(received).toHaveLength(2)
})

it('a receiver that is gone is sent nothing more, neither what is queued nor what comes, until it is brought back', async () => {
  answers = [500, 410]
  const { id: webhookId, received } = await webhookFor('stock.adjusted')
  const { id } = await newProduct({ initialStock: 1 })
  await settle()
  expect(received).toHaveLength(2)
  for (let count = 0; count < 3; count++) await adjust(id, 1)
  await settle()
  expect(received).toHaveLength(2)
  const { body } = await call(updateWebhook, { params: { webhookId }, body: { enabled: true } })
  expect(body).toMatchObject({ enabled: true, disabledReason: null })
  await adjust(id, 1)
  await settle()
  expect(received).toHaveLength(3)
})

it('a webhook that is deleted while its jobs wait gets nothing, and its jobs are done', async () => {
  answers = Array.from({ length: 100 }, () => 500)
  const { id: webhookId, received } = await webhookFor('stock.out')
  const { id } = await newProduct({ initialStock: 1 })
  await adjust(id, -1)
  await until(async () => {
    await relayOutbox(systemContext('function:test'))
    expect(received).toHaveLength(1)
  })
  await call(deleteWebhook, { params: { webhookId } })
  await settle()
  const [job] = await sql`select state, result from jobs order by id desc limit 1`
  expect(job).toEqual({ state: 'succeeded', result: { delivered: false, reason: 'webhook_deleted' } })
})

it('a reservation that expires is told of once, with its lines', async () => {
  const { verified } = await webhookFor('reservation.expired')
  const products = [await newProduct({ initialStock: 5 }), await newProduct({ initialStock: 5 })]
  const { id } = await hold(products.map((product) => ({ productId: product.id, quantity: 2 })))
  await expire(id)
  await adjust(products[0]?.id ?? '', 1)
  await settle()
  expect(verified()).toMatchObject([
    { type: 'reservation.expired', id, subject: id, data: { id, state: 'expired', lines: [{ quantity: 2 }, {}] } },
  ])
})
