import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { ServiceError } from '#errors'
import { eventRequest, queueFunction, scheduleFunction, streamFunction } from '#function'

const attributes = {
  id: 'e-1',
  source: 'urn:test',
  specversion: '1.0',
  type: 'stock.low',
  subject: 'p 1 % "ü"',
} as const
const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

function queueOf(handler: (event: { attributes: object; data: { n: number } }) => Promise<unknown>, limits = {}) {
  return queueFunction({
    name: 'test-queue',
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
    const response = await definition.app.fetch(eventRequest(attributes, { n: 1 }, traceparent))
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
    await definition.app.fetch(eventRequest(attributes, {}, traceparent))
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
