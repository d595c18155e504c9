import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { ADMIN_KEY, call, newProduct, openReceiver, type Receiver, sql } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { type Collector, openCollector, type ReceivedSpan, tracingVariables } from '#testing/otlp'
import { inRabbit, rabbitUrl, useBroker } from '#testing/rabbit'
import { buildAll } from '../../../esbuild.config.ts'
import createWebhook from '../../../functions/create-webhook/index.ts'
import { serveFunctions } from '../../../infra/local/serve-functions.ts'
import { listeningUrl, startNode } from '../processes.ts'

// Follows one reservation that makes a product low on stock, from its client to a webhook receiver. Each span has the parent and the links
// that connect them.

const FUNCTIONS = [
  'reserve-stock',
  'publish-events',
  'detect-low-stock',
  'notify-webhooks',
  'dispatch-jobs',
  'process-job',
]
const CLIENT = '00000000000000aa'
/** The client's baggage about its customer goes as far as the job, but neither into spans nor to the receiver. */
const CUSTOMER = 'customer-4711'
const SETTINGS = { WEBHOOK_ALLOW_PRIVATE: '1', BAGGAGE_KEYS: 'customer' }
/** How long every process on the way may take to send its spans, on a busy machine. */
const WAIT_MS = 60_000

let dist: URL
let collector: Collector
let receiver: Receiver
let traces = 0

type Settings = Record<string, string>

interface Service {
  url: string
  stop: () => Promise<void>
}

beforeAll(async () => {
  // Outside the repository, so that no node_modules folder can be used.
  dist = new URL(`${pathToFileURL(await mkdtemp(join(tmpdir(), 'stock-traces-'))).href}/`)
  await buildAll(dist)
  collector = await openCollector()
  receiver = await openReceiver()
  overrideEnvironment(SETTINGS)
  await call(createWebhook, { body: { url: receiver.url, events: ['stock.low'] } })
}, 180_000)

afterAll(async () => {
  vi.unstubAllEnvs()
  overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: undefined, BAGGAGE_KEYS: undefined })
  await receiver.close()
  await collector.close()
  await rm(dist, { recursive: true, force: true })
})

/** Starts all functions and the router in this process. */
async function startTogether(settings: Settings): Promise<Service> {
  for (const [name, value] of Object.entries(tracingVariables(collector))) vi.stubEnv(name, value)
  const { DATABASE_URL: databaseUrl = '' } = environment()
  return serveFunctions({
    databaseUrl,
    databaseReplicaUrl: undefined,
    host: '127.0.0.1',
    port: 0,
    metricsPort: 0,
    allowedHosts: [],
    engines: settings,
    bootstrapApiKey: ADMIN_KEY,
    seed: false,
    observe: false,
    logLevel: 'error',
    progress: () => {},
  })
}

/** Starts the functions on the way and the router, each in a separate process. */
async function startApart(settings: Settings): Promise<Service> {
  const { DATABASE_URL = '' } = environment()
  const own = { DATABASE_URL, PORT: '0', HOST: '127.0.0.1', METRICS_PORT: '0', ...SETTINGS }
  const start = (bundle: string, more: Settings = {}) =>
    startNode(fileURLToPath(new URL(`${bundle}/index.mjs`, dist)), {
      ...own,
      ...settings,
      ...tracingVariables(collector),
      ...more,
    })
  const functions = FUNCTIONS.map((name) => start(`functions/${name}`))
  const [reserveStock = ''] = await Promise.all(functions.map(listeningUrl))
  const router = start('router', { UPSTREAM_RESERVE_STOCK: reserveStock })
  return {
    url: await listeningUrl(router),
    async stop() {
      const all = [...functions, router]
      for (const { process: child } of all) child.kill('SIGTERM')
      expect(await Promise.all(all.map(({ exit }) => exit))).toEqual(all.map(() => 0))
    },
  }
}

/** Reserves enough to make the product low on stock. Returns the id of the client's trace. */
async function reserve(url: string): Promise<string> {
  const product = await newProduct({ lowStockThreshold: 5, initialStock: 6 })
  const traceId = (++traces).toString(16).padStart(32, 'a')
  const response = await fetch(`${url}/v1/reservations`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${ADMIN_KEY}`,
      'content-type': 'application/json',
      traceparent: `00-${traceId}-${CLIENT}-01`,
      tracestate: 'shop=1',
      baggage: `customer=${CUSTOMER}`,
    },
    body: JSON.stringify({ lines: [{ productId: product.id, quantity: 2 }] }),
  })
  expect(response.status).toBe(201)
  await response.arrayBuffer()
  return traceId
}

const idsOf = ({ traceId, spanId }: ReceivedSpan) => ({ traceId, spanId })

/** Returns the only span with this name that `fits`. */
function only(name: string, fits: (span: ReceivedSpan) => boolean): ReceivedSpan {
  const found = collector.spans.filter((span) => span.name === name && fits(span))
  expect(found, `spans ${name}`).toHaveLength(1)
  return found[0] as ReceivedSpan
}

const childOf = (parent: ReceivedSpan) => (span: ReceivedSpan) =>
  span.traceId === parent.traceId && span.parentSpanId === parent.spanId
const linkedTo = (target: ReceivedSpan) => (span: ReceivedSpan) =>
  span.links.some(({ traceId, spanId }) => traceId === target.traceId && spanId === target.spanId)

/** Checks that the span has exactly these links. */
function expectLinks({ name, links }: ReceivedSpan, targets: ReceivedSpan[]): void {
  const sorted = (ids: ReceivedSpan['links']) => ids.toSorted((a, b) => a.spanId.localeCompare(b.spanId))
  expect(sorted(links), `links of ${name}`).toEqual(sorted(targets.map(idsOf)))
}

/** If a message came together with others, finds the span of all of them. */
const togetherOf = (processed: ReceivedSpan) =>
  collector.spans.filter((span) => span.name.endsWith(' together') && linkedTo(processed)(span))

/** Checks the broker's address in the span, for the one broker there is. */
function expectServer({ attributes }: ReceivedSpan): void {
  if (attributes['messaging.system'] !== 'rabbitmq') return
  const { hostname, port } = new URL(rabbitUrl ?? '')
  expect(attributes).toMatchObject({ 'server.address': hostname, 'server.port': Number(port) })
}

/** Checks the spans of a message: it is sent in its own trace, and processed by `group` as a child of the span that created it. */
function expectProcessed(created: ReceivedSpan, system: string, group: string): ReceivedSpan {
  const destination = created.attributes['messaging.destination.name']
  const processed = only(
    `process ${destination}`,
    (span) => childOf(created)(span) && span.attributes['messaging.consumer.group.name'] === group,
  )
  expect(processed).toMatchObject({ kind: 'consumer', failed: false, attributes: { 'messaging.system': system } })
  // Only for received events: the driver does not report these for events that it sends.
  const at = { 'messaging.destination.partition.id': expect.any(String), 'messaging.kafka.offset': expect.any(Number) }
  if (system === 'kafka') expect(processed.attributes).toMatchObject(at)
  expectServer(processed)
  expectLinks(processed, [created, ...togetherOf(processed)])
  return processed
}

function expectSent(
  created: ReceivedSpan,
  system: string,
  destination = created.attributes['messaging.destination.name'],
): void {
  const sent = only(`send ${destination}`, linkedTo(created))
  expect(sent).toMatchObject({ kind: 'producer', parentSpanId: undefined, attributes: { 'messaging.system': system } })
  expectServer(sent)
  expectLinks(sent, [created])
}

/** A message that comes alone is processed in its own trace. Messages that come together are processed in a trace that links to theirs. */
function expectStatements(processed: ReceivedSpan): void {
  const [together, ...others] = togetherOf(processed)
  expect(others).toEqual([])
  // Nothing else was recorded meanwhile.
  if (together) expectLinks(together, [processed])
  const { traceId, service } = together ?? processed
  const ofTrace = collector.spans.filter((span) => span.traceId === traceId && span.service === service)
  expect(ofTrace.map(({ name }) => name)).toEqual(expect.arrayContaining(['transaction', 'BEGIN', 'COMMIT']))
}

function expectRequest(traceId: string, isApart: boolean): ReceivedSpan {
  const name = 'POST /v1/reservations'
  const router = only(name, (span) => span.traceId === traceId && span.parentSpanId === CLIENT)
  expect(router).toMatchObject({
    kind: 'server',
    tracestate: 'shop=1',
    failed: false,
    attributes: { 'url.scheme': 'http' },
  })
  const forwarded = isApart ? only('POST', childOf(router)) : router
  const { 'server.address': host, 'server.port': port, 'url.full': full } = forwarded.attributes
  if (isApart) expect(full).toBe(`http://${host}:${port}/v1/reservations`)
  const request = only(name, childOf(forwarded))
  expect(request).toMatchObject({ kind: 'server', tracestate: 'shop=1', attributes: { 'faas.name': 'reserve-stock' } })
  if (isApart) expect([router.service, request.service]).toEqual(['router', 'reserve-stock'])
  const batch = only('group commit stock', linkedTo(request))
  expect(batch.parentSpanId).toBeUndefined()
  expectLinks(batch, [request])
  expectLinks(request, [batch])
  const statements = collector.spans.filter(childOf(batch)).map((span) => span.name)
  expect(statements).toEqual(expect.arrayContaining(['BEGIN', 'INSERT outbox', 'COMMIT']))
  return request
}

function expectChain(traceId: string, isApart: boolean, log: string, queue: string): void {
  const request = expectRequest(traceId, isApart)
  const reserved = only('create stock-events', childOf(request))
  expectSent(reserved, log)
  const detected = expectProcessed(reserved, log, 'detect-low-stock')
  expectStatements(detected)
  const alert = only('create stock-events', childOf(detected))
  expectSent(alert, log)
  const notified = expectProcessed(alert, log, 'notify-webhooks')
  expectStatements(notified)
  const job = only('create jobs', childOf(notified))
  if (queue === 'rabbitmq') expectSent(job, queue, environment().JOBS_QUEUE ?? 'jobs')
  const worked = expectProcessed(job, queue, 'process-job')
  expect(worked.attributes['job.type']).toBe('deliver-webhook')
  const delivery = only('POST', childOf(worked))
  const linked = collector.spans.filter((span) => span.traceId === traceId && span.links.length > 0)
  expect(linked.map(({ name }) => name).sort()).toEqual(
    [request, detected, notified, worked].map(({ name }) => name).sort(),
  )
  const { headers } = receiver.received.at(-1) ?? { headers: {} }
  expect(headers).toMatchObject({ traceparent: `00-${traceId}-${delivery.spanId}-01`, tracestate: 'shop=1' })
  expect(JSON.stringify([headers, collector.spans])).not.toContain(CUSTOMER)
}

async function followOne(service: Service, isApart: boolean, log: string, queue: string): Promise<void> {
  try {
    const before = receiver.received.length
    const traceId = await reserve(service.url)
    await vi.waitFor(() => expect(receiver.received.length).toBe(before + 1), { timeout: WAIT_MS, interval: 50 })
    await vi.waitFor(() => expectChain(traceId, isApart, log, queue), { timeout: WAIT_MS, interval: 100 })
    expect([...(await sql`select baggage from jobs`)]).toEqual([{ baggage: `customer=${CUSTOMER}` }])
  } finally {
    await service.stop()
    await sql`truncate jobs, job_dispatches, outbox cascade`
  }
}

describe('the spans of a reservation that makes a product low lead to the webhook that tells of it', () => {
  it('in one process, with tables', async () => {
    await followOne(await startTogether({}), false, 'postgresql', 'postgresql')
  }, 180_000)

  it('in a process for each function, with tables', async () => {
    await followOne(await startApart({}), true, 'postgresql', 'postgresql')
  }, 180_000)

  describe.skipIf(kafkaUrl === undefined || rabbitUrl === undefined)(`${inKafka}, ${inRabbit}`, () => {
    it.each([
      ['in one process', startTogether, false],
      ['in a process for each function', startApart, true],
    ])(
      '%s',
      async (_, start, isApart) => {
        const broker = await useBroker(rabbitUrl ?? '', { dispatch: false })
        const settings = { EVENTS_URL: kafkaUrl ?? '', ...broker.settings }
        try {
          await followOne(await start(settings), isApart, 'kafka', 'rabbitmq')
        } finally {
          await broker.stop()
        }
      },
      180_000,
    )
  })
})
