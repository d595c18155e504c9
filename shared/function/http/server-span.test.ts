import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { shutDown } from '#async'
import { call, functionNamed, newProduct, sql } from '#testing'
import { type Collector, openCollector, traceTo } from '#testing/otlp'

const getStock = await functionNamed('get-stock')
const reserveStock = await functionNamed('reserve-stock')
const createLocation = await functionNamed('create-location')
const CLIENT = { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, tracestate: 'shop=1' }

let collector: Collector

beforeAll(async () => {
  collector = await openCollector()
})

afterEach(() => vi.unstubAllEnvs())

afterAll(() => collector.close())

async function traced(work: () => Promise<unknown>, variables: Record<string, string> = {}) {
  collector.spans.length = 0
  await traceTo(collector, variables)
  await work()
  await shutDown()
  const server = collector.spans.find(({ kind }) => kind === 'server')
  const statements = collector.spans.filter(({ attributes }) => attributes['db.system.name'] === 'postgresql')
  return { server, statements }
}

describe('a request', () => {
  it('is a span of the client’s trace, with one for each statement', async () => {
    const { id } = await newProduct({ initialStock: 3 })
    const { server, statements } = await traced(() => call(getStock, { params: { productId: id }, headers: CLIENT }))
    expect(server).toMatchObject({
      name: 'GET /v1/products/{productId}/stock',
      traceId: 'a'.repeat(32),
      parentSpanId: 'b'.repeat(16),
      tracestate: 'shop=1',
      failed: false,
      attributes: {
        'http.request.method': 'GET',
        'http.route': '/v1/products/{productId}/stock',
        'url.path': `/v1/products/${id}/stock`,
        'http.response.status_code': 200,
        'faas.name': 'get-stock',
      },
    })
    const read = statements.find(({ name }) => name === 'SELECT stock_levels')
    expect(read).toMatchObject({
      kind: 'client',
      parentSpanId: server?.spanId,
      attributes: { 'db.operation.name': 'SELECT', 'db.query.text': expect.stringContaining('$1') },
    })
    expect(JSON.stringify(statements), 'no value of a statement is in its span').not.toContain(id)
  })

  it('that a client got wrong is no failure; one that the database refuses has the code of its statement', async () => {
    await call(createLocation, { body: { code: 'north', name: 'North', priority: 1 } })
    const { server, statements } = await traced(() =>
      call(createLocation, { body: { code: 'north', name: 'North', priority: 1 }, headers: CLIENT }),
    )
    expect(server).toMatchObject({ failed: false, attributes: { 'http.response.status_code': 409 } })
    expect(statements.filter(({ failed }) => failed)).toMatchObject([
      {
        name: 'INSERT locations',
        attributes: { 'db.collection.name': 'locations', 'db.response.status_code': '23505', 'error.type': '23505' },
      },
    ])
  })

  it('that is not recorded has no span, and what it causes is of the client’s trace, not to be recorded either', async () => {
    const { id } = await newProduct({ initialStock: 3 })
    const body = { lines: [{ productId: id, quantity: 1 }] }
    const { server, statements } = await traced(
      async () => expect((await call(reserveStock, { body, headers: CLIENT })).status).toBe(201),
      { OTEL_TRACES_SAMPLER: 'always_off' },
    )
    expect([server, statements]).toEqual([undefined, []])
    const events =
      await sql`select traceparent, tracestate from outbox where traceparent like ${`00-${'a'.repeat(32)}-%`}`
    expect(events).toEqual([
      { traceparent: expect.stringMatching(/^00-a{32}-(?!b{16})[0-9a-f]{16}-00$/), tracestate: 'shop=1' },
    ])
  })
})
