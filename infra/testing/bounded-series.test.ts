import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import { Agent, METHODS, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { createHttpServer } from '#function/http-server'
import { renderMetrics } from '#telemetry'
import { ADMIN_KEY, allFunctions, newProducts } from '#testing'
import { createRouter } from '../router/router.ts'

const RANDOM_REQUESTS = 10_000
/** Few enough parallel requests that none is refused because of the others: a refusal would be a separate series. */
const AT_ONCE = 8

/** The number of products that are reserved. */
const PRODUCTS = 200
/** All of a minute's reservations are for this many products: more than the metric reports, each with more lines than a hot product needs. */
const HOT = 10
const HOT_REQUESTS = 70
const RANKS = ['1', '2', '3', '4', '5']

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
let url = ''
let skus: string[] = []
let close = async () => {}

beforeAll(async () => {
  overrideEnvironment({ RATE_LIMIT: '0' })
  const routes = (await allFunctions()).flatMap(({ name, trigger, limits, app }) =>
    trigger.kind === 'http' ? [{ name, ...trigger, ...limits, target: { fetch: app.fetch } }] : [],
  )
  const router = createRouter({ routes, openapi: {} })
  const server = createHttpServer(router.listener)
  url = await server.listen(0, '127.0.0.1')
  skus = (await newProducts(PRODUCTS, { initialStock: 1_000_000 })).map(({ sku }) => sku)
  close = async () => {
    agent.destroy()
    await server.close(0)
    await router.close()
  }
})

afterAll(async () => {
  await close()
  overrideEnvironment({ RATE_LIMIT: undefined })
})

interface Question {
  method?: string
  path: string
  headers?: Record<string, string>
  body?: unknown
  /** The expected status, if the request has to be one that is served. */
  status?: number
}

const word = () => randomBytes(6).toString('base64url')
const anySku = () => skus[randomInt(skus.length)] ?? ''
const reserve = (...reserved: string[]): Question => ({
  path: '/v1/reservations',
  method: 'POST',
  body: { lines: reserved.map((sku) => ({ sku, quantity: 1 })) },
  status: 201,
})
const traceparent = () => `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`

/** Methods that the HTTP parser knows but the route does not. */
const methods = METHODS.filter((method) => !['GET', 'HEAD', 'POST', 'CONNECT'].includes(method))

/** Requests of every kind with parts that a client can invent. Each request has parts that no other has. */
const kinds: ReadonlyArray<() => Question> = [
  () => ({ path: `/v1/products/${randomUUID()}` }),
  () => ({ path: `/v1/products/${word()}/stock` }),
  () => ({ path: `/v1/reservations/${randomUUID()}/confirm`, method: 'POST', body: {} }),
  () => ({ path: `/v1/jobs/${randomUUID()}` }),
  () => ({ path: `/v1/products?search=${word()}&sku=${word()}` }),
  () => ({ path: `/${word()}/${word()}` }),
  () => ({ path: `/v1/products/${randomUUID()}/${word()}` }),
  () => ({ path: '/v1/products', method: 'PUT', headers: { [word().replaceAll(/\W|_/g, 'x')]: word() } }),
  () => ({ path: `/v1/locations?${word()}=${word()}`, method: methods[randomInt(methods.length)] ?? 'DELETE' }),
  () => ({ path: '/v1/products', headers: { authorization: `Bearer ${word()}` } }),
  () => ({ path: '/v1/products', method: 'POST', body: { sku: `SKU-${word()}`, name: word(), initialStock: 1 } }),
  () => ({ path: '/v1/products', method: 'POST', body: { [word()]: word() } }),
  () => ({ path: '/v1/reservations', method: 'POST', body: { lines: [{ sku: word(), quantity: 1 }] } }),
  () => reserve(anySku()),
  () => ({ path: '/v1/jobs', method: 'POST', body: { type: word(), payload: {} } }),
  () => ({
    path: '/v1/stock/availability',
    method: 'POST',
    body: { items: [{ sku: word(), quantity: 1 }, { sku: anySku() }] },
    status: 200,
  }),
  () => ({ path: '/v1/dead-events/redrive', method: 'POST', body: { ids: [randomUUID()] } }),
]

async function ask({ method = 'GET', path, headers = {}, body, status }: Question): Promise<void> {
  const common = { authorization: `Bearer ${ADMIN_KEY}`, traceparent: traceparent(), 'request-id': word() }
  const type = body === undefined ? {} : { 'content-type': 'application/json', 'idempotency-key': word() }
  const answered = await new Promise((resolve, reject) => {
    const outgoing = request(url + path, { agent, method, headers: { ...common, ...type, ...headers } }, (response) =>
      text(response).then(() => resolve(response.statusCode), reject),
    )
    outgoing.on('error', reject)
    outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  })
  if (status !== undefined) expect(answered, path).toBe(status)
}

/** Sends all requests, several at a time. */
async function askAll(count: number, question: (number: number) => Question): Promise<void> {
  let left = count
  const client = async () => {
    for (; left > 0; left--) await ask(question(left))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client))
}

/** Returns every series except those of Node itself, by name and labels. Exemplars belong to their series. */
async function series(): Promise<string[]> {
  const lines = (await renderMetrics('openmetrics')).split('\n')
  const names = lines.flatMap((line) => /^[a-z][a-z0-9_]*(?:\{.*?\})?(?= )/.exec(line)?.[0] ?? [])
  return names.filter((name) => !/^(process|nodejs)_/.test(name)).sort()
}

it('no request adds a series for an id, a path, a method, a sku or anything else that a client makes up', async () => {
  for (const kind of kinds) for (let count = 0; count < 2; count++) await ask(kind())
  const before = await series()
  expect(before.length).toBeGreaterThan(100)

  await askAll(RANDOM_REQUESTS, (number) => (kinds[number % kinds.length] as () => Question)())
  expect(await series()).toEqual(before)
}, 300_000)

it('of hot products, the one label that has what a client has named, there is always one series a rank', async () => {
  const hot = skus.slice(0, HOT)
  const told = async () =>
    (await series()).flatMap((name) => {
      const [, rank, sku = ''] = /^stock_hot_product_lines\{rank="(.*?)",sku="(.*)"\}$/.exec(name) ?? []
      return rank === undefined ? [] : [[rank, sku]]
    })
  expect(await told()).toEqual(RANKS.map((rank) => [rank, '']))
  // A minute in which nothing else happens, and then the next one.
  const minute = Date.now() + 120_000
  vi.useFakeTimers({ toFake: ['Date'], now: minute })
  try {
    await askAll(HOT_REQUESTS, () => reserve(...hot))
    vi.setSystemTime(minute + 60_000)
    expect(await told()).toEqual(RANKS.map((rank) => [rank, expect.toBeOneOf(hot)]))
  } finally {
    vi.useRealTimers()
  }
})
