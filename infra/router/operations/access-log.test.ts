import { once } from 'node:events'
import { request, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { httpFunction, ok } from '#function'
import { noteAccess } from '#function/access-log'
import { formatLines, logger } from '#telemetry'
import type { RouterOptions } from '../router.ts'
import { ask, serveRouter, signal } from '../testing/fixtures.ts'

let lines: Record<string, unknown>[]

beforeEach(() => {
  lines = []
  logger().level = 'info'
  formatLines((line) => {
    lines.push(JSON.parse(line))
    return ''
  })
})
afterEach(() => {
  logger().level = 'silent'
  formatLines((line) => line)
  overrideEnvironment({ ACCESS_LOG: undefined })
})

const definition = httpFunction({
  name: 'get-thing',
  route: 'GET /v1/things/{thingId}',
  params: { thingId: 'product' },
  scope: 'admin',
  tag: 'operations',
  summary: 'For a test.',
  responses: { 200: ['internal'] },
  handler: async () => ok({}),
})
type Target = RouterOptions['routes'][number]['target']

/** A router with one route, whose function is in this process. */
const serveThings = (target: Target = { fetch: definition.app.fetch }) =>
  serveRouter({
    routes: [
      { name: 'get-thing', method: 'GET', path: '/v1/things/{thingId}', timeoutMs: 100, maxBodyBytes: 0, target },
    ],
  })

const endless = () => new ReadableStream({ pull: (stream) => stream.enqueue(new Uint8Array(10)) })

const accessLines = () => lines.filter(({ msg }) => msg === 'request')
const accessLine = async () => {
  await vi.waitFor(() => expect(accessLines()).toHaveLength(1))
  return accessLines()[0] ?? expect.fail()
}

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const headers = { 'request-id': 'a"quoted\\id', traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01` }

describe('the access log', () => {
  it('has one line for a request, with the route in place of the path, and the caller’s trace', async () => {
    const { url } = await serveThings()
    const answer = await ask(url, '/v1/things/some-id?a=secret', { headers })
    const line = await accessLine()
    expect(line).toMatchObject({
      level: 'info',
      function: 'get-thing',
      method: 'GET',
      route: '/v1/things/{thingId}',
      status: 401,
      code: 'unauthenticated',
      request_id: 'a"quoted\\id',
      trace_id: TRACE_ID,
      span_id: expect.stringMatching(/^(?!b7ad6b7169203331)[0-9a-f]{16}$/),
    })
    expect(Date.parse(String(line.time))).not.toBeNaN()
    expect(line.ms).toBeGreaterThan(0)
    expect(line.bytes).toBeGreaterThan(answer.text.length)
    expect(JSON.stringify(line)).not.toMatch(/some-id|secret/)
  })

  it('has those that the router answers, and those without a readable head', async () => {
    const { url } = await serveThings()
    await ask(url, '/v1/nothing/some-id', { headers })
    expect(await accessLine()).toMatchObject({ function: 'router', route: null, status: 404, trace_id: TRACE_ID })
    await ask(url, '/v1/things/1', { method: 'DELETE' })
    connect(Number(new URL(url).port), '127.0.0.1').end('GET / HTTP/1.1\r\nbad header\r\n\r\n')
    await vi.waitFor(() => expect(accessLines()).toHaveLength(3))
    expect(accessLines().map(({ method, status, code }) => [method, status, code])).toEqual([
      ['GET', 404, 'not_found'],
      ['DELETE', 405, 'method_not_allowed'],
      [null, 400, 'malformed_request'],
    ])
  })

  it('counts each byte once, where a client asks again before it has its answer', async () => {
    const { url } = await serveThings()
    const { port, host } = new URL(url)
    const socket = connect(Number(port), '127.0.0.1').setEncoding('latin1')
    const received: string[] = []
    socket.on('data', (part: string) => received.push(part))
    const ask = (path: string) => `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n`
    socket.end(`${ask('/v1/things/1')}\r\n${ask('/v1/nothing')}connection: close\r\n\r\n`)
    await once(socket, 'close')
    await vi.waitFor(() => expect(accessLines()).toHaveLength(2))
    const counted = accessLines().reduce((sum, { bytes }) => sum + Number(bytes), 0)
    expect(counted).toBe(received.join('').length)
  })

  it.each([
    ['has 499 for a client that has left before its answer', () => new Promise<Response>(() => {}), { status: 499 }],
    ['says of an answer that the client has cut it off', () => new Response(endless()), { status: 200, cut: true }],
  ])('%s', async (_, answer, expected) => {
    const asked = signal()
    const { url } = await serveThings({
      fetch: (_, env) => {
        const { outgoing } = env as { outgoing: ServerResponse }
        noteAccess(outgoing, { function: 'get-thing', route: '/v1/things/{thingId}', requestId: 'x' })
        asked.resolve()
        return answer()
      },
    })
    const outgoing = request(`${url}/v1/things/1`).on('error', () => {})
    outgoing.on('response', (response) => response.on('error', () => {}).once('data', () => outgoing.destroy())).end()
    await asked.promise
    if (expected.status === 499) outgoing.destroy()
    expect(await accessLine()).toMatchObject(expected)
  })

  it('has no probes, and no line at all where it is switched off', async () => {
    const { url } = await serveThings()
    await ask(url, '/healthz')
    overrideEnvironment({ ACCESS_LOG: '0' })
    await ask(url, '/v1/things/1')
    overrideEnvironment({ ACCESS_LOG: '1' })
    await ask(url, '/v1/nothing')
    expect(await accessLine()).toMatchObject({ status: 404 })
  })
})
