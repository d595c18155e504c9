import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { overrideEnvironment } from '#config'
import { publish } from '#events'
import { queueFunction, streamFunction } from '#function'
import { type RunningTrigger, startEventOutbox, startQueue, startStream } from '#function/triggers'
import { runJob, submitJobs } from '#jobs'
import { call, everyType, functionNamed, newProduct, sql } from '#testing'
import publishEvents from '../../../functions/publish-events/index.ts'

const [adjustStock, reserveStock] = await Promise.all([functionNamed('adjust-stock'), functionNamed('reserve-stock')])
const until = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })
const started: RunningTrigger[] = []
const summary = 'For a test.'

beforeEach(async () => {
  overrideEnvironment({ BAGGAGE_KEYS: 'tenant,channel' })
  await sql`truncate jobs, outbox, event_log, event_groups, dead_events cascade`
})

afterEach(async () => {
  overrideEnvironment({ BAGGAGE_KEYS: undefined })
  await Promise.all(started.splice(0).map((trigger) => trigger.stop()))
})

/** Submits a job for each adjustment. */
const submitting = streamFunction({
  name: 'test-submitting',
  summary,
  topics: ['stock-events'],
  types: ['stock.adjusted'],
  data: z.object({ productId: z.guid() }),
  batch: { max: 10, waitMs: 0 },
  handler: (events) =>
    Promise.allSettled(
      events.map(({ context }) => submitJobs('verify-ledger', [{ payload: {}, trace: context.trace }], context, sql)),
    ),
})

/** Publishes an event from each job. */
const publishing = (productId: string) =>
  queueFunction({
    name: 'test-publishing',
    summary,
    queue: 'jobs',
    data: z.strictObject({ jobId: z.guid() }),
    handler: ({ attributes, data, context }) =>
      runJob(
        data.jobId,
        attributes.id,
        context,
        everyType(async (_, { context: { trace } }) => {
          await publish(sql, [{ type: 'stock.low', productId, version: 99, data: {}, trace }])
          return {}
        }),
      ),
  })

it.each([
  [
    'goes on with its event, the job that follows from it, and the event of that',
    'tenant,channel',
    'tenant=a%20b,channel=x',
  ],
  ['ends at the function where no key is named', undefined, null],
])('what a client says %s', async (_, keys, expected) => {
  overrideEnvironment({ BAGGAGE_KEYS: keys })
  const { id: productId } = await newProduct()
  started.push(startEventOutbox(publishEvents), startStream(submitting), startQueue(publishing(productId)))
  const headers = { baggage: 'channel = x; ttl=30, customer=7, tenant=a%20b, tenant' }
  const body = { quantity: 1, reason: 'received' }
  expect((await call(adjustStock, { params: { productId }, body, headers })).status).toBe(201)
  const told = () => sql`
    select type, baggage from event_log where product_id = ${productId} and type <> 'product.created' order by position`
  await until(async () => expect(await told()).toHaveLength(2))
  expect([...(await told())]).toEqual([
    { type: 'stock.adjusted', baggage: expected },
    { type: 'stock.low', baggage: expected },
  ])
  expect([...(await sql`select baggage from jobs`)]).toEqual([{ baggage: expected }])
})

it('each event of a group commit has the baggage of its own request', async () => {
  const { id: productId } = await newProduct({ initialStock: 100 })
  const tenants = Array.from({ length: 30 }, (_, number) => (number % 3 === 0 ? undefined : `tenant=${number}`))
  await sql`truncate outbox`
  const answers = await Promise.all(
    tenants.map((baggage, number) =>
      call(reserveStock, {
        body: { lines: [{ productId, quantity: 1 }], reference: String(number) },
        headers: baggage ? { baggage } : {},
      }),
    ),
  )
  expect(answers.map(({ status }) => status)).toEqual(tenants.map(() => 201))
  const events = await sql`select data ->> 'reference' as reference, baggage from outbox where type = 'stock.reserved'`
  expect(events).toHaveLength(tenants.length)
  for (const { reference, baggage } of events) expect(baggage).toBe(tenants[Number(reference)] ?? null)
})

it('what has been kept goes no further once its key is taken back', async () => {
  const seen: unknown[] = []
  const { id: productId } = await newProduct()
  const headers = { baggage: 'tenant=1,channel=x' }
  await call(adjustStock, { params: { productId }, body: { quantity: 1, reason: 'received' }, headers })
  overrideEnvironment({ BAGGAGE_KEYS: 'channel' })
  const following = streamFunction({
    name: 'test-following',
    summary,
    topics: ['stock-events'],
    data: z.object({}),
    handler: async ({ context }) => {
      seen.push(context.trace.baggage)
    },
  })
  started.push(startEventOutbox(publishEvents), startStream(following))
  await until(() => expect(seen).toEqual(['channel=x']))
})
