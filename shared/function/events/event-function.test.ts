import { describe, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { ServiceError } from '#errors'
import { eventRequest, queueFunction, scheduleFunction, streamFunction } from '#function'
import { logger } from '#telemetry'

const attributes = {
  id: 'e-1',
  source: 'urn:test',
  specversion: '1.0',
  type: 'stock.low',
  subject: 'p 1 % "ü"',
} as const
const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

function queueOf(
  handler: (event: { attributes: object; data: { n: number } }) => Promise<unknown>,
  limits = {},
  name = 'test-queue',
) {
  return queueFunction({
    name,
    summary: 'For a test.',
    queue: 'jobs',
    data: z.object({ n: z.number() }),
    limits,
    handler,
  })
}

describe('a function that takes events', () => {
  it('gets the attributes and the data as they were sent, and acknowledges', async () => {
    const received: unknown[] = []
    const definition = queueOf(async (event) => {
      received.push(event.attributes, event.data)
    })
    const response = await definition.app.fetch(eventRequest(attributes, { n: 1 }, { traceparent }))
    expect(response.status).toBe(204)
    expect(received).toEqual([attributes, { n: 1 }])
  })

  it('works on behalf of itself, in the trace of the event', async () => {
    let context: { actor: string; trace: { traceparent: string } } | undefined
    const definition = streamFunction({
      name: 'test-stream',
      summary: 'For a test.',
      topics: ['stock-events'],
      data: z.object({}),
      handler: async (event) => {
        context = event.context
      },
    })
    await definition.app.fetch(eventRequest(attributes, {}, { traceparent }))
    expect(context?.actor).toBe('function:test-stream')
    expect(context?.trace.traceparent).toContain(traceparent.slice(3, 35))
    expect(definition.trigger).toEqual({ kind: 'stream', topics: ['stock-events'], group: 'test-stream' })
  })

  it('answers with what its handler gives, if it gives something', async () => {
    const definition = scheduleFunction({
      name: 'test-schedule',
      summary: 'For a test.',
      everyMs: 1_000,
      handler: async () => ({ expired: 3 }),
    })
    const response = await definition.app.fetch(eventRequest(attributes, {}))
    expect([response.status, await response.json()]).toEqual([200, { expired: 3 }])
  })

  it.each([
    ['a 4xx, to be dead-lettered', new ServiceError('product_not_found', 'gone'), 404, 'product_not_found'],
    ['a 503, to be tried again', new ServiceError('unavailable', 'down', { retryAfterSeconds: 2 }), 503, 'unavailable'],
    ['a defect, to be tried again', new TypeError('secret'), 500, 'internal'],
  ])('answers a throw as %s', async (_, thrown, status, code) => {
    const definition = queueOf(async () => {
      throw thrown
    })
    const response = await definition.app.fetch(eventRequest(attributes, { n: 1 }))
    expect(response.status).toBe(status)
    const problem = await response.json()
    expect(problem).toMatchObject({ code, requestId: 'e-1' })
    expect(JSON.stringify(problem)).not.toContain('secret')
    expect(definition.inFlight()).toBe(0)
  })

  it.each([
    ['what is away or busy as a warning', new ServiceError('unavailable', 'away'), 'warn'],
    ['a receiver that does not take a webhook as a warning', new ServiceError('bad_gateway', 'refused'), 'warn'],
    ['an event that is unfit as a fault', new ServiceError('product_not_found', 'gone'), 'error'],
    ['a defect as a fault', new TypeError('broken'), 'error'],
  ] as const)('logs %s', async (_, thrown, level) => {
    const written = { warn: vi.spyOn(logger(), 'warn'), error: vi.spyOn(logger(), 'error') }
    const fail = async () => {
      throw thrown
    }
    // Under a name of its own, because a repeated failure is only counted.
    const definition = queueOf(fail, {}, 'test-log')
    await definition.app.fetch(eventRequest(attributes, { n: 1 }))
    expect([written.warn.mock.calls.length, written.error.mock.calls.length]).toEqual(
      level === 'warn' ? [1, 0] : [0, 1],
    )
    vi.restoreAllMocks()
  })

  it('answers 503 when its time is up, so that the event is tried again', async () => {
    const definition = queueOf(() => new Promise(() => {}), { timeoutMs: 10 })
    expect((await definition.app.fetch(eventRequest(attributes, { n: 1 }))).status).toBe(503)
  })

  it('refuses data of another shape, and names what is wrong', async () => {
    const response = await queueOf(async () => {}).app.fetch(eventRequest(attributes, { n: 'one' }))
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({ errors: [{ path: 'n' }] })
  })
})

describe('a function that takes batches', () => {
  const type = 'application/cloudevents-batch+json'
  const definition = streamFunction({
    name: 'test-batch',
    summary: 'For a test.',
    topics: ['stock-events'],
    data: z.object({ n: z.number() }),
    batch: { max: 5, waitMs: 0 },
    handler: (events) =>
      Promise.allSettled(
        events.map(async ({ data, attributes: { id }, context }) => {
          if (data.n === 404) throw new ServiceError('product_not_found', 'gone')
          if (data.n === 503) throw new ServiceError('unavailable', 'down')
          if (data.n === 500) throw new TypeError('secret')
          return { id, n: data.n, traceparent: context.trace.traceparent }
        }),
      ),
  })
  const post = async (body: unknown, contentType = type) => {
    const headers = { 'content-type': contentType }
    const request = new Request('http://function/', { method: 'POST', headers, body: JSON.stringify(body) })
    const response = await definition.app.fetch(request)
    return { status: response.status, body: await response.json() }
  }
  const event = (id: string, n: unknown) => ({ ...attributes, id, traceparent, data: { n } })

  it('names those to be tried again and those that never will be, with the reason, and acknowledges the others', async () => {
    const sent = [event('a', 1), event('b', 404), event('c', 503), event('d', 'one'), event('e', 500)]
    expect(await post(sent)).toEqual({
      status: 200,
      body: {
        retry: [
          { index: 2, id: 'c', status: 503, code: 'unavailable', detail: 'down' },
          { index: 4, id: 'e', status: 500, code: 'internal', detail: expect.not.stringContaining('secret') },
        ],
        reject: [
          { index: 3, id: 'd', status: 422, code: 'validation_failed', detail: expect.stringContaining('n') },
          { index: 1, id: 'b', status: 404, code: 'product_not_found', detail: 'gone' },
        ],
      },
    })
  })

  it('rejects what is no event among others, and takes those', async () => {
    const { body } = await post([null, event('a', 1), { ...event('b', 1), specversion: '0.3' }])
    expect(body).toMatchObject({
      retry: [],
      reject: [
        { index: 0, id: '' },
        { index: 2, id: 'b' },
      ],
    })
  })

  it('refuses what is no batch, and one with too many events', async () => {
    expect(await post(event('a', 1))).toMatchObject({ status: 422 })
    expect(await post(Array.from({ length: 6 }, () => event('a', 1)))).toMatchObject({ status: 422 })
    expect((await post([], 'application/cloudevents+json')).status).toBe(422)
    expect(await post([], `${type}; charset=utf-8`)).toEqual({ status: 200, body: { retry: [], reject: [] } })
  })

  it('takes as many events as it says, of the size that events have', async () => {
    const large = streamFunction({
      name: 'test-large',
      summary: 'For a test.',
      topics: ['stock-events'],
      data: z.looseObject({}),
      batch: { max: 1_000, waitMs: 0 },
      handler: async (events) => events.map((value) => ({ status: 'fulfilled', value })),
    })
    const data = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`member${n}`, n]))
    const body = JSON.stringify(Array.from({ length: 1_000 }, (_, n) => ({ ...event(`e-${n}`, 1), data })))
    const request = new Request('http://function/', { method: 'POST', headers: { 'content-type': type }, body })
    expect(await (await large.app.fetch(request)).json()).toEqual({ retry: [], reject: [] })
  })

  it('takes a single event, and answers as for one', async () => {
    const one = await definition.app.fetch(eventRequest(attributes, { n: 7 }, { traceparent }))
    expect(await one.json()).toMatchObject({
      id: 'e-1',
      n: 7,
      traceparent: expect.stringContaining(traceparent.slice(3, 35)),
    })
    expect((await definition.app.fetch(eventRequest(attributes, { n: 404 }))).status).toBe(404)
  })

  it('is not taken for one where it takes single events only', async () => {
    const headers = { 'content-type': type, 'ce-id': '1', 'ce-source': 's', 'ce-specversion': '1.0', 'ce-type': 't' }
    const request = new Request('http://function/', { method: 'POST', headers, body: '[]' })
    expect((await queueOf(async () => {}).app.fetch(request)).status).toBe(415)
  })
})
