import { randomUUID } from 'node:crypto'
import { describe, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { ServiceError } from '#errors'
import { type FunctionDefinition, httpFunction, ok, Upload } from '#function'
import { logger } from '#telemetry'
import { call, functionNamed, newProduct, sql } from '#testing'

/** A function whose handler the test provides. */
function functionOf(handler: () => Promise<object>, limits = {}, request = {}): FunctionDefinition {
  return httpFunction({
    name: 'test-function',
    route: 'POST /v1/test',
    scope: 'admin',
    tag: 'operations',
    summary: 'For a test.',
    limits,
    request,
    responses: { 200: z.object({ done: z.boolean() }), 409: ['not_held', 'insufficient_stock'], 500: ['internal'] },
    handler: async () => ok(await handler()),
  })
}

function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

describe('a function', () => {
  it('serves as many requests at once as it says, refuses the next, and recovers', async () => {
    const { open, opened } = gate()
    const limited = functionOf(() => opened.then(() => ({ done: true })), { inFlight: 3 })
    const served = [call(limited), call(limited), call(limited)]
    await vi.waitFor(() => expect(limited.inFlight()).toBe(3))
    const refused = await call(limited)
    expect(refused).toMatchObject({ status: 503, body: { code: 'overloaded' } })
    expect(refused.headers.get('retry-after')).toBe('1')
    open()
    expect((await Promise.all(served)).map(({ status }) => status)).toEqual([200, 200, 200])
    expect(limited.inFlight()).toBe(0)
    expect((await call(limited)).status).toBe(200)
  })

  it('counts a refused request neither as served nor as in flight', async () => {
    const failing = functionOf(async () => {
      throw new ServiceError('not_held', 'no')
    })
    await Promise.all([call(failing), call(failing, { key: null }), call(failing, { body: '{' })])
    expect(failing.inFlight()).toBe(0)
  })

  it('answers 503 when its time is up, whatever its handler still does', async () => {
    const late = functionOf(() => new Promise(() => {}), { timeoutMs: 10 })
    const answer = await call(late)
    expect(answer).toMatchObject({ status: 503, body: { code: 'overloaded' } })
    expect(answer.headers.get('retry-after')).toBe('1')
  })

  it('counts work that goes on past its time as in flight, with the memory of its body, until it ends', async () => {
    const { open, opened } = gate()
    const MIB = 1024 * 1024
    const limits = { inFlight: 4, timeoutMs: 500, maxBodyBytes: 64 * MIB }
    const late = functionOf(() => opened.then(() => ({ done: true })), limits, { body: Upload })
    const upload = () => call(late, { body: Buffer.alloc(60 * MIB) })
    expect((await upload()).body.detail).toMatch(/took longer than 500 ms/)
    // Two uploads are more than an API key's share of the process's memory.
    expect((await upload()).body.detail).toMatch(/Too much is being sent/)
    const others = await Promise.all([call(late, { body: 'a' }), call(late, { body: 'b' })])
    expect(others.map(({ status }) => status)).toEqual([503, 503])
    expect(late.inFlight()).toBe(3)
    expect((await call(late, { body: 'c' })).body.detail).toMatch(/already serves 4 requests/)
    open()
    await vi.waitFor(() => expect(late.inFlight()).toBe(0))
    expect((await upload()).body).toEqual({ done: true })
  })

  it('gives up the place of what never ends, and tells of it', async () => {
    const error = vi.spyOn(logger(), 'error')
    // Longer than a busy machine takes to notice that the request is in flight.
    const stuck = functionOf(() => new Promise(() => {}), { inFlight: 1, timeoutMs: 1_000 })
    const answer = call(stuck)
    await vi.waitFor(() => expect(stuck.inFlight()).toBe(1))
    // Fakes the minute that begins with the request's time-out.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      expect((await answer).status).toBe(503)
      // A busy machine may notice the time-out late, by which the minute that follows is shorter.
      vi.advanceTimersByTime(50_000)
      expect(stuck.inFlight()).toBe(1)
      vi.advanceTimersByTime(10_000)
      expect(stuck.inFlight()).toBe(0)
      expect(error).toHaveBeenCalledWith(
        { function: 'test-function' },
        expect.stringContaining('60000 ms past its time'),
      )
    } finally {
      vi.useRealTimers()
      error.mockRestore()
    }
  })

  it('answers a defect with a bare 500 that tells nothing of it', async () => {
    const defective = functionOf(async () => {
      throw new TypeError('secret: postgres://user:password@host')
    })
    const { status, body, headers } = await call(defective)
    expect([status, body.code, body.title]).toEqual([500, 'internal', 'Internal Server Error'])
    expect(JSON.stringify(body)).not.toMatch(/secret|postgres|TypeError/)
    expect(headers.get('cache-control')).toBe('no-store')
  })

  it('tells a problem in full: type, title, status, detail, instance, code, request id, and what is added', async () => {
    const shortages = [{ productId: randomUUID(), sku: 'A', requested: 2, available: 1 }]
    const failing = functionOf(async () => {
      throw new ServiceError('insufficient_stock', 'The detail.', { extra: { shortages } })
    })
    const { body } = await call(failing, { headers: { 'request-id': 'r-1' } })
    expect(body).toEqual({
      type: 'about:blank',
      title: 'Conflict',
      status: 409,
      detail: 'The detail.',
      instance: '/v1/test',
      code: 'insufficient_stock',
      requestId: 'r-1',
      shortages,
    })
  })

  it('answers a path that is not its own with not_found', async () => {
    const response = await functionOf(async () => ({ done: true })).app.fetch(new Request('http://localhost/v1/other'))
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ code: 'not_found', instance: '/v1/other' })
  })

  it('answers HEAD as GET, without the body', async () => {
    const getProduct = await functionNamed('get-product')
    const { id } = await newProduct()
    const head = await getProduct.app.fetch(
      new Request(`http://localhost/v1/products/${id}`, {
        method: 'HEAD',
        headers: { authorization: 'Bearer test-admin-key' },
      }),
    )
    expect([head.status, head.headers.get('etag'), await head.text()]).toEqual([200, '"1.1"', ''])
  })
})

describe('trace context', () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'

  it('is carried from the request into the events it causes', async () => {
    const adjust = await functionNamed('adjust-stock')
    const { id } = await newProduct()
    await call(adjust, {
      params: { productId: id },
      body: { quantity: 1, reason: 'received' },
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, tracestate: 'vendor=1' },
    })
    const [event] = await sql`
      select traceparent, tracestate from outbox where product_id = ${id} and type = 'stock.adjusted'`
    expect(event?.traceparent).toMatch(new RegExp(`^00-${traceId}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`))
    expect(event?.tracestate).toBe('vendor=1')
  })

  it.each([
    ['512 characters of tracestate, which must be passed on', 512],
    ['no more of it, which would be stored with each line', 513],
  ])('takes %s', async (_, length) => {
    const adjust = await functionNamed('adjust-stock')
    const { id } = await newProduct()
    const tracestate = `v=${'x'.repeat(length - 2)}`
    await call(adjust, {
      params: { productId: id },
      body: { quantity: 1, reason: 'received' },
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, tracestate },
    })
    const [event] = await sql`
      select traceparent, tracestate from outbox where product_id = ${id} and type = 'stock.adjusted'`
    expect(event?.traceparent).toContain(traceId)
    expect(event?.tracestate).toBe(length > 512 ? null : tracestate)
  })

  it.each([
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `00-${traceId}-0000000000000000-01`,
    `ff-${traceId}-00f067aa0ba902b7-01`,
    'junk',
  ])('is begun anew where the request brings %j', async (traceparent) => {
    const adjust = await functionNamed('adjust-stock')
    const { id } = await newProduct()
    const body = { quantity: 1, reason: 'received' }
    expect((await call(adjust, { params: { productId: id }, body, headers: { traceparent } })).status).toBe(201)
    const [event] = await sql`select traceparent from outbox where product_id = ${id} and type = 'stock.adjusted'`
    expect(event?.traceparent).toMatch(/^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]$/)
    expect(event?.traceparent).not.toContain(traceId)
  })
})
