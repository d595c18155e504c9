import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import { Agent, METHODS, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { createHttpServer } from '#function/http-server'
import { renderMetrics } from '#telemetry'
import { ADMIN_KEY, allFunctions } from '#testing'
import { createRouter } from '../router/router.ts'

const RANDOM_REQUESTS = 10_000
/** Few enough that none is refused because of the others: that would be a series of its own. */
const AT_ONCE = 8

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
let url = ''
let close = async () => {}

beforeAll(async () => {
  overrideEnvironment({ RATE_LIMIT: '0' })
  const routes = (await allFunctions()).flatMap(({ name, trigger, limits, app }) =>
    trigger.kind === 'http' ? [{ name, ...trigger, ...limits, target: { fetch: app.fetch } }] : [],
  )
  const router = createRouter({ routes, openapi: {} })
  const server = createHttpServer(router.listener)
  url = await server.listen(0, '127.0.0.1')
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
}

const word = () => randomBytes(6).toString('base64url')
const traceparent = () => `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`

/** Those that HTTP's parser knows, and the route does not. */
const methods = METHODS.filter((method) => !['GET', 'HEAD', 'POST', 'CONNECT'].includes(method))

/** Questions of every kind of which a client can make up parts, each with parts that no other has. */
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
  () => ({ path: '/v1/jobs', method: 'POST', body: { type: word(), payload: {} } }),
  () => ({ path: '/v1/stock/availability', method: 'POST', body: { lines: [{ sku: word(), quantity: 1 }] } }),
  () => ({ path: '/v1/dead-events/redrive', method: 'POST', body: { ids: [randomUUID()] } }),
]

async function ask({ method = 'GET', path, headers = {}, body }: Question): Promise<void> {
  const common = { authorization: `Bearer ${ADMIN_KEY}`, traceparent: traceparent(), 'request-id': word() }
  const type = body === undefined ? {} : { 'content-type': 'application/json', 'idempotency-key': word() }
  await new Promise((resolve, reject) => {
    const outgoing = request(url + path, { agent, method, headers: { ...common, ...type, ...headers } }, (response) =>
      resolve(text(response)),
    )
    outgoing.on('error', reject)
    outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** Every series but those of Node itself, by name and labels. Exemplars belong to their series. */
async function series(): Promise<string[]> {
  const lines = (await renderMetrics('openmetrics')).split('\n')
  const names = lines.flatMap((line) => /^[a-z][a-z0-9_]*(?:\{.*?\})?(?= )/.exec(line)?.[0] ?? [])
  return names.filter((name) => !/^(process|nodejs)_/.test(name)).sort()
}

it('no request adds a series for an id, a path, a method, a sku or anything else that a client makes up', async () => {
  for (const kind of kinds) for (let count = 0; count < 2; count++) await ask(kind())
  const before = await series()
  expect(before.length).toBeGreaterThan(100)

  let left = RANDOM_REQUESTS
  const client = async () => {
    for (; left > 0; left--) await ask((kinds[left % kinds.length] as () => Question)())
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client))
  expect(await series()).toEqual(before)
}, 300_000)
