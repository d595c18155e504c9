import { once } from 'node:events'
import { request } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createFunctions, limits, routes } from './testing/conformance-fixtures.ts'
import { ask, chunksOf, serve, serveRouter } from './testing/fixtures.ts'

async function routerInProcess() {
  const functions = createFunctions()
  const { url } = await serveRouter({ routes: routes.map((route) => ({ ...route, target: functions.app })) })
  return { url, ...functions }
}

async function routerInFront() {
  const functions = createFunctions()
  const upstream = await serve(createAdaptorServer({ fetch: functions.app.fetch }) as Parameters<typeof serve>[0])
  const { url } = await serveRouter({
    routes: routes.map((route) => ({ ...route, target: { upstreams: [upstream] } })),
  })
  return { url, ...functions }
}

describe.each([
  ['in process', routerInProcess],
  ['as a proxy', routerInFront],
])('a router that calls its functions %s', (_mode, start) => {
  test('hands on path, query and Request-Id, and the answer', async () => {
    const { url } = await start()
    const answer = await ask(url, '/v1/things/a%2Fb?limit=2&q=%20x', { headers: { 'request-id': 'client-1' } })
    expect(answer.status).toBe(200)
    expect(answer.json()).toEqual({ id: 'a/b', query: { limit: '2', q: ' x' }, requestId: 'client-1' })
    expect(answer.headers['content-type']).toBe('application/json')
    expect(answer.headers['request-id']).toBe('client-1')
  })

  test.each([['two words'], ['x'.repeat(129)], ['']])('makes a Request-Id where the client sent %j', async (sent) => {
    const { url } = await start()
    const answer = await ask(url, '/v1/things/1', { headers: { 'request-id': sent } })
    const { requestId } = answer.json()
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/)
    expect(answer.headers['request-id']).toBe(requestId)
  })

  test('hands on a body with a length, a chunked one and none', async () => {
    const { url } = await start()
    const headers = { 'content-type': 'application/json' }
    const withLength = await ask(url, '/v1/things/1', { method: 'POST', headers, body: '{"a":1}' })
    expect(withLength.status).toBe(201)
    expect(withLength.headers.location).toBe('/v1/things/1')
    expect(withLength.json()).toEqual({ bytes: 7, type: 'application/json' })
    const chunked = await ask(url, '/v1/things/1', { method: 'POST', body: chunksOf(3) })
    expect(chunked.json()).toEqual({ bytes: 3 * 64 * 1024 })
    const none = await ask(url, '/v1/things/1', { method: 'POST' })
    expect(none.json()).toEqual({ bytes: 0 })
  })

  test('answers HEAD with the head of GET', async () => {
    const { url } = await start()
    const answer = await ask(url, '/v1/things/1', { method: 'HEAD' })
    expect([answer.status, answer.text]).toEqual([200, ''])
    expect(answer.headers['content-type']).toBe('application/json')
    expect(answer.headers['request-id']).toBeDefined()
  })

  test('hands on answers without a body and repeated headers', async () => {
    const { url } = await start()
    const gone = await ask(url, '/v1/things/1', { method: 'DELETE' })
    expect([gone.status, gone.text]).toEqual([204, ''])
    const cached = await ask(url, '/v1/cached')
    expect([cached.status, cached.text, cached.headers.etag]).toEqual([304, '', '"1.1"'])
    const cookies = await ask(url, '/v1/cookies')
    expect(cookies.headers['set-cookie']).toEqual(['a=1', 'b=2; Path=/'])
  })

  test("leaves a function's own problem as it is", async () => {
    const { url } = await start()
    const answer = await ask(url, '/v1/missing', { headers: { 'request-id': 'r' } })
    expect(answer.status).toBe(404)
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(answer.json()).toMatchObject({ code: 'product_not_found', requestId: 'r', instance: '/v1/missing' })
  })

  test.each([
    ['GET', '/v1/nothing', 404, 'not_found', undefined],
    ['GET', '/v1/things/1/', 404, 'not_found', undefined],
    ['GET', '/v1/things/%zz', 404, 'not_found', undefined],
    ['PUT', '/v1/things/1', 405, 'method_not_allowed', 'DELETE, GET, HEAD, POST'],
    ['POST', '/healthz', 405, 'method_not_allowed', 'GET, HEAD'],
  ])('%s %s is %i %s, decided without a function', async (method, path, status, code, allow) => {
    const { url, seen } = await start()
    const answer = await ask(url, path, { method })
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(answer.headers.allow).toBe(allow)
    expect(answer.json()).toMatchObject({ status, code, instance: path, requestId: answer.headers['request-id'] })
    expect(seen.requests).toBe(0)
  })

  test('refuses a body that says it is too large before the function sees anything', async () => {
    const { url, seen } = await start()
    const answer = await ask(url, '/v1/things/1', { method: 'POST', body: Buffer.alloc(limits.maxBodyBytes + 1) })
    expect(answer.status).toBe(413)
    expect(answer.json()).toMatchObject({ code: 'too_large' })
    expect(seen.requests).toBe(0)
  })

  test('refuses a chunked body once it has become too large', async () => {
    const { url } = await start()
    const answer = await ask(url, '/v1/things/1', { method: 'POST', body: chunksOf(64) })
    expect(answer.status).toBe(413)
    expect(answer.json()).toMatchObject({ code: 'too_large', requestId: answer.headers['request-id'] })
  })

  test('takes a body of exactly the size allowed', async () => {
    const { url } = await start()
    const answer = await ask(url, '/v1/things/1', { method: 'POST', body: chunksOf(4) })
    expect(answer.json()).toEqual({ bytes: limits.maxBodyBytes })
  })

  test('says 100 Continue before the body is sent, and not where the body is refused', async () => {
    const { url } = await start()
    const expecting = (length: number) =>
      request(`${url}/v1/things/1`, {
        method: 'POST',
        headers: { expect: '100-continue', 'content-length': length },
        agent: false,
      })
    const accepted = expecting(3)
    accepted.flushHeaders()
    await once(accepted, 'continue')
    accepted.end('abc')
    const [answer] = await once(accepted, 'response')
    expect(answer.statusCode).toBe(201)
    const refused = expecting(limits.maxBodyBytes + 1)
    refused.on('continue', () => expect.unreachable('the body was asked for'))
    refused.flushHeaders()
    const [refusal] = await once(refused, 'response')
    expect([refusal.statusCode, refusal.headers.connection]).toEqual([413, 'close'])
    refused.destroy()
  })

  test('tells the function that the client has left', async () => {
    const { url, waiting, left } = await start()
    const outgoing = request(`${url}/v1/wait`, { agent: false })
    outgoing.on('error', () => {})
    outgoing.end()
    await waiting
    outgoing.destroy()
    await left
  })

  test('streams an answer as it is made, and cuts the connection where the function breaks it off', async () => {
    // The Node adapter prints the errors that break a stream.
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {})
    onTestFinished(() => printed.mockRestore())
    const { url, trickle } = await start()
    const outgoing = request(`${url}/v1/trickle`, { agent: false }).end()
    const controller = await trickle
    controller.enqueue(Buffer.from('first'))
    const [response] = await once(outgoing, 'response')
    const [chunk] = await once(response, 'data')
    expect(String(chunk)).toBe('first')
    const broken = once(response, 'error')
    controller.error(new Error('a secret reason'))
    expect((await broken)[0].message).toBe('aborted')
    expect(response.complete).toBe(false)
  })

  test('serves an Upgrade request as the plain request it also is', async () => {
    const { url } = await start()
    const headers = { connection: 'upgrade', upgrade: 'websocket' }
    expect((await ask(url, '/v1/things/1', { headers })).status).toBe(200)
  })

  test('understands a request target in absolute form', async () => {
    const { url } = await start()
    const answer = await ask(url, `${url}/v1/things/7?limit=1`)
    expect(answer.json()).toMatchObject({ id: '7', query: { limit: '1' } })
  })
})
