import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { DEVELOPMENT_KEY } from '#access/bootstrap-key'
import { environment, overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { submitJob } from '#jobs'
import { openApiOf } from '#openapi'
import { ADMIN_KEY, allFunctions, call, hold, newKey, newProduct, openReceiver, sql } from '#testing'
import { buildOfAll } from '#testing/builds'
import { contractOf, problemsOf } from '#testing/contract'
import { inRabbit, rabbitUrl, useBroker } from '#testing/rabbit'
import createProduct from '../../../functions/create-product/index.ts'
import createWebhook from '../../../functions/create-webhook/index.ts'
import { listeningUrl, type Started, startNode } from '../processes.ts'

/** The size of OpenTelemetry's SDK, which only a process with tracing loads. */
const TRACING_BYTES_MAX = 75_000
/** A larger function has bundled something that it does not use. The largest has 667 kB, of which 190 kB are the Redis client. */
const BUNDLE_BYTES_MAX = 670_000
/** The size that the Kafka client adds to the two functions that have it. */
const KAFKA_BYTES_MAX = 290_000
/** The size of amqplib, and in process-job also that of its jobs' needs: a CSV parser, and the sender of webhooks. */
const JOBS_BYTES_MAX = 160_000

let dist: URL
let inputs: Map<string, string[]>
const started: Started[] = []

beforeAll(async () => {
  const built = await buildOfAll()
  dist = built.dist
  inputs = built.sources
}, 120_000)

afterEach(async () => {
  for (const { process: child, exit } of started.splice(0)) {
    child.kill('SIGKILL')
    await exit
  }
})

function start(bundle: string, more: Record<string, string> = {}): Started {
  const { DATABASE_URL = '' } = environment()
  const file = fileURLToPath(new URL(`${bundle}/index.mjs`, dist))
  const process = startNode(file, { DATABASE_URL, PORT: '0', METRICS_PORT: '0', HOST: '127.0.0.1', ...more })
  started.push(process)
  return process
}

describe('the bundles', () => {
  it('are within the size budget, each with its source map', async () => {
    for (const name of await readdir(new URL('functions/', dist))) {
      const files = (await readdir(new URL(`functions/${name}/`, dist))).sort()
      expect(files, name).toEqual(['index.mjs', 'index.mjs.map', 'tracing.mjs', 'tracing.mjs.map'])
      const { size: tracingSize } = await stat(new URL(`functions/${name}/tracing.mjs`, dist))
      expect(tracingSize, name).toBeLessThan(TRACING_BYTES_MAX)
      const { size } = await stat(new URL(`functions/${name}/index.mjs`, dist))
      const hasKafka = inputs.get(name)?.includes('shared/events/kafka/client.ts')
      const hasJobs = inputs.get(name)?.includes('shared/jobs/rabbitmq/broker.ts')
      const more = (hasKafka ? KAFKA_BYTES_MAX : 0) + (hasJobs ? JOBS_BYTES_MAX : 0)
      expect(size, name).toBeLessThan(BUNDLE_BYTES_MAX + more)
    }
  })

  it('are made of nothing that the builds of the images leave out', async () => {
    const lines = (await readFile(new URL('../../../.dockerignore', import.meta.url), 'utf8')).split('\n')
    const isIn = (path: string) => (line: string) => path === line || path.startsWith(`${line}/`)
    const [taken, left] = [lines.flatMap((line) => line.split('!')[1] ?? []), lines.filter((line) => /^\w/.test(line))]
    expect([...inputs.keys()]).toContain('backup')
    const sources = [...new Set([...inputs.values()].flat())].filter((path) => /^(functions|shared|infra)\//.test(path))
    expect(sources.length).toBeGreaterThan(100)
    expect(sources.filter((path) => !taken.some(isIn(path)) || left.some(isIn(path)))).toEqual([])
  })

  it('hold only what they use', () => {
    const holding = (file: string) => [...inputs].filter(([, files]) => files.includes(file)).map(([name]) => name)
    const drivers = (name: string) => {
      const packages = (inputs.get(name) ?? []).map((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1])
      return [...new Set(packages)].filter((each) =>
        ['postgres', 'ioredis', 'kafkajs', 'amqplib', 'undici'].includes(each ?? ''),
      )
    }
    const driversOf = (files: string[]) => [
      ...(files.includes('shared/jobs/rabbitmq/broker.ts') ? ['amqplib'] : []),
      ...(files.includes('shared/redis/connection.ts') ? ['ioredis'] : []),
      ...(files.includes('shared/events/kafka/client.ts') ? ['kafkajs'] : []),
      'postgres',
    ]
    // OpenTelemetry's API comes with prom-client.
    const isOfSdk = (file: string) => /@opentelemetry\/(?!api\/)/.test(file)
    for (const [name, files] of inputs) {
      expect(files.filter(isOfSdk), name).toEqual([])
      expect(drivers(name).sort(), name).toEqual(name === 'router' ? ['undici'] : driversOf(files))
    }
    expect(inputs.get('prune-history')).not.toContain('shared/redis/connection.ts')
    expect(holding('shared/events/kafka/client.ts')).toEqual([
      'detect-low-stock',
      'measure-backlog',
      'notify-webhooks',
      'publish-events',
    ])
    expect(inputs.get('get-stock')?.filter((input) => input.startsWith('shared/products'))).toEqual([])
    expect(holding('shared/events/subscribe.ts')).toEqual(['detect-low-stock', 'notify-webhooks'])
    expect(holding('shared/events/outbox/relay.ts')).toEqual(['publish-events'])
    expect(holding('shared/jobs/work.ts')).toEqual(['process-job'])
    expect(holding('shared/jobs/rabbitmq/broker.ts')).toEqual(['dispatch-jobs', 'process-job'])
    expect(holding('shared/products/imports/csv-records.ts')).toEqual(['process-job'])
  })

  it('serve alone, and through the proxying router', async () => {
    const { body: product } = await call(createProduct, { body: { sku: 'ALONE', name: 'Alone', initialStock: 3 } })
    const reserveStock = await listeningUrl(start('functions/reserve-stock'))
    const router = await listeningUrl(start('router', { UPSTREAM_RESERVE_STOCK: reserveStock }))
    const response = await fetch(`${router}/v1/reservations`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${ADMIN_KEY}`,
        'content-type': 'application/json',
        'request-id': 'from-the-test',
      },
      body: JSON.stringify({ lines: [{ productId: product.id, quantity: 2 }] }),
    })
    expect(response.status).toBe(201)
    expect(response.headers.get('request-id')).toBe('from-the-test')
    expect(await response.json()).toMatchObject({ state: 'held', lines: [{ sku: 'ALONE', quantity: 2 }] })
    const openapi = (await (await fetch(`${router}/openapi.json`)).json()) as { paths: object }
    expect(openapi.paths).toHaveProperty(['/v1/reservations', 'post'])
    expect((await fetch(`${router}/docs`)).headers.get('content-type')).toContain('text/html')
  })

  it('are listed by the router, each process by its address, with what it says of itself', async () => {
    const names = ['list-functions', 'get-stock', 'get-stock', 'get-stock', 'expire-reservations']
    const processes = names.map((name) => start(`functions/${name}`))
    const urls = await Promise.all(processes.map(listeningUrl))
    const [lister = '', well = '', dead = '', paused = '', scheduled = ''] = urls
    const router = await listeningUrl(
      start('router', {
        UPSTREAM_LIST_FUNCTIONS: lister,
        UPSTREAM_GET_STOCK: [well, dead, paused].join(),
        UPSTREAM_EXPIRE_RESERVATIONS: scheduled,
      }),
    )
    const headers = { authorization: `Bearer ${ADMIN_KEY}` }
    const check = contractOf((await (await fetch(`${router}/openapi.json`)).json()) as Parameters<typeof contractOf>[0])
    const list = async () => {
      const response = await fetch(`${router}/v1/functions`, { headers })
      const text = await response.text()
      check({ method: 'GET', path: '/v1/functions', status: response.status, headers: response.headers, text })
      const { items } = JSON.parse(text) as { items: Array<{ name: string; instances: object[] }> }
      return new Map(items.map(({ name, instances }) => [name, instances]))
    }
    expect((await fetch(`${well}/v1/products/x/stock`)).status).toBe(401)
    const versionOf = async (name: string) => {
      const content = await readFile(new URL(`functions/${name}/index.mjs`, dist))
      return createHash('sha256').update(content).digest('hex').slice(0, 16)
    }
    const startedAt = expect.stringMatching(/Z$/)
    const idle = { inFlight: 0, requests: 0, errors: 0, p50Ms: null, p99Ms: null, startedAt: null, version: null }
    const getStock = { ...idle, health: 'ok', startedAt, version: await versionOf('get-stock') }
    const known = await list()
    expect([...known.keys()]).toEqual((await allFunctions()).map(({ name }) => name).sort())
    const asked = { ...getStock, url: well, requests: 1, p50Ms: expect.any(Number), p99Ms: expect.any(Number) }
    expect(known.get('get-stock')).toEqual([asked, { ...getStock, url: dead }, { ...getStock, url: paused }])
    await vi.waitFor(async () => {
      const [instance] = (await list()).get('expire-reservations') ?? []
      expect(instance).toMatchObject({ url: scheduled, health: 'ok', requests: expect.any(Number), errors: 0 })
      expect((instance as { requests: number }).requests).toBeGreaterThan(0)
    }, 10_000)

    processes[2]?.process.kill('SIGKILL')
    await processes[2]?.exit
    processes[3]?.process.kill('SIGSTOP')
    expect((await list()).get('get-stock')).toEqual([
      asked,
      { ...idle, health: 'unavailable', url: dead },
      { ...idle, health: 'unknown', url: paused },
    ])
    processes[3]?.process.kill('SIGCONT')
    await vi.waitFor(async () => expect((await list()).get('get-stock')?.[2]).toEqual({ ...getStock, url: paused }))

    const refused = await fetch(`${router}/v1/functions`, {
      headers: { authorization: `Bearer ${await newKey('stock:read')}` },
    })
    expect(refused.status).toBe(403)
    expect((await fetch(`${router}/-/status`, { headers })).status).toBe(404)
  })

  it('know no process but through the router', async () => {
    const url = await listeningUrl(start('functions/list-functions'))
    const response = await fetch(`${url}/v1/functions`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } })
    const { items } = (await response.json()) as { items: Array<{ instances: object[] }> }
    expect(items.length).toBe((await allFunctions()).length)
    expect(items.flatMap(({ instances }) => instances)).toEqual([])
    const misdirected = await fetch(`${url}/-/status`, { headers: { function: 'get-stock' } })
    expect(misdirected.status).toBe(421)
  })

  it('answer each request with its own rows while the tables change', async () => {
    const { id: productId } = await newProduct({ initialStock: 100 })
    const references = Array.from({ length: 20 }, (_, index) => `order-${index}`)
    for (const reference of references) await hold([{ productId, quantity: 1 }], { reference })
    const url = await listeningUrl(start('functions/list-reservations'))
    const ask = async (reference: string) => {
      const response = await fetch(`${url}/v1/reservations?reference=${reference}`, {
        headers: { authorization: `Bearer ${ADMIN_KEY}` },
      })
      const { items } = (await response.json()) as { items?: Array<{ reference: string }> }
      return { status: response.status, references: items?.map((item) => item.reference) }
    }
    const askAll = () => Promise.all([...references, ...references, ...references].map(ask))
    const right = [...references, ...references, ...references].map((own) => ({ status: 200, references: [own] }))
    expect(await askAll()).toEqual(right)
    for (const type of ['varchar(200)', 'text', 'varchar(100)', 'text']) {
      const asked = askAll()
      await sql.unsafe(`alter table reservations alter column reference type ${type}`)
      expect([await asked, await askAll()]).toEqual([right, right])
    }
  })

  it('publish, follow and work alone, each from its own trigger, and end when they are told to', async () => {
    overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: '1' })
    const receiver = await openReceiver()
    await call(createWebhook, { body: { url: receiver.url, events: ['stock.low'] } })
    const names = ['publish-events', 'detect-low-stock', 'notify-webhooks', 'process-job']
    const processes = names.map((name) => start(`functions/${name}`, { WEBHOOK_ALLOW_PRIVATE: '1' }))
    await Promise.all(processes.map(listeningUrl))
    const product = await newProduct({ lowStockThreshold: 5, initialStock: 1 })
    const job = await submitJob({ type: 'verify-ledger', payload: {} }, systemContext('function:test'))
    await vi.waitFor(
      async () => {
        const types = await sql`select type from event_log where product_id = ${product.id} order by position`
        expect(types.map(({ type }) => type)).toEqual(['product.created', 'stock.adjusted', 'stock.low'])
        expect(await sql`select state, result from jobs where id = ${job.id}`).toMatchObject([
          { state: 'succeeded', result: { consistent: true } },
        ])
        const told = receiver.received.map(({ body }) => JSON.parse(body))
        expect(told).toMatchObject([{ type: 'stock.low', subject: product.id }])
      },
      { timeout: 20_000, interval: 50 },
    )
    for (const { process: child } of processes) child.kill('SIGTERM')
    expect(await Promise.all(processes.map(({ exit }) => exit))).toEqual([0, 0, 0, 0])
    await receiver.close()
    overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: undefined })
  })

  it.skipIf(rabbitUrl === undefined)(
    `tell of jobs and work on them ${inRabbit}, and end when they are told to`,
    async () => {
      const broker = await useBroker(rabbitUrl ?? '', { dispatch: false })
      const processes = ['dispatch-jobs', 'process-job'].map((name) => start(`functions/${name}`, broker.settings))
      await Promise.all(processes.map(listeningUrl))
      const job = await submitJob({ type: 'verify-ledger', payload: {} }, systemContext('function:test'))
      await vi.waitFor(
        async () =>
          expect(await sql`select state, lease from jobs where id = ${job.id}`).toEqual([
            { state: 'succeeded', lease: null },
          ]),
        { timeout: 20_000, interval: 50 },
      )
      for (const { process: child } of processes) child.kill('SIGTERM')
      expect(await Promise.all(processes.map(({ exit }) => exit))).toEqual([0, 0])
      await broker.stop()
    },
  )

  it.each([
    ['publish-events', 'EVENTS_URL'],
    ['detect-low-stock', 'EVENTS_URL'],
    ['notify-webhooks', 'EVENTS_URL'],
    ['process-job', 'JOBS_URL'],
    ['dispatch-jobs', 'JOBS_URL'],
  ])('%s ends with one clear line where there is no adapter for its %s', async (name, variable) => {
    const failing = start(`functions/${name}`, { [variable]: 'mailto:nobody', LOG_LEVEL: 'silent' })
    expect(await failing.exit).toBe(1)
    expect(failing.lines).toEqual([expect.stringContaining(`${variable}: must be postgres:`)])
  })

  it('answer health, readiness and metrics on their own port', async () => {
    const url = await listeningUrl(start('functions/get-stock'))
    expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: 'ok' })
    expect(await (await fetch(`${url}/readyz`)).json()).toEqual({ status: 'ready' })
    expect((await fetch(`${url}/v1/products/x/stock`)).status).toBe(401)
    expect(await (await fetch(`${url}/metrics`)).text()).toContain(
      'function_duration_seconds_count{function="get-stock",status="401"} 1',
    )
  })

  it('say what is missing where the database does not answer, and keep serving', async () => {
    const url = await listeningUrl(start('functions/get-stock', { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' }))
    const ready = await fetch(`${url}/readyz`)
    expect(ready.status).toBe(503)
    expect(ready.headers.get('content-type')).toBe('application/problem+json')
    const problem = await ready.json()
    expect(problem).toMatchObject({
      code: 'not_ready',
      instance: '/readyz',
      failing: { primary: expect.stringContaining('ECONNREFUSED') },
    })
    problemsOf(openApiOf([], '0.0.0'))(problem)
    const answer = await fetch(`${url}/v1/products/00000000-0000-7000-8000-000000000001/stock`, {
      headers: { authorization: 'Bearer x' },
    })
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({ code: 'unavailable' })
  })

  it('end with one clear line without a database URL, or with the development key', async () => {
    const keyless = start('functions/get-stock', { DATABASE_URL: '' })
    const url = await listeningUrl(keyless).catch((error: Error) => error.message)
    expect(url).toContain('DATABASE_URL')
    expect(await keyless.exit).toBe(1)
    for (const BOOTSTRAP_API_KEY of [DEVELOPMENT_KEY, 'short']) {
      const known = start('functions/get-stock', { BOOTSTRAP_API_KEY })
      expect(await known.exit).toBe(1)
      expect(known.lines).toEqual([expect.stringContaining('BOOTSTRAP_API_KEY')])
    }
  })

  it('take the development key on the embedded database', async () => {
    await sql`insert into api_keys (id, name, scopes, prefix, key_hash)
              values (gen_random_uuid(), 'development', array['admin'], 'dev', sha256(${DEVELOPMENT_KEY}::text::bytea))`
    const url = await listeningUrl(start('functions/list-products'))
    const headers = { authorization: `Bearer ${DEVELOPMENT_KEY}` }
    expect((await fetch(`${url}/v1/products`, { headers })).status).toBe(200)
  })
})
