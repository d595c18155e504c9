import { once } from 'node:events'
import { request } from 'node:http'
import { expect, test } from 'vitest'
import { ask, refusingOrigin } from '../testing/fixtures.ts'
import { rawUpstream, routerTo, upstreamWith } from '../testing/proxy-fixtures.ts'

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

test('refused: 503 with Retry-After, and the body is not asked for', async () => {
  const { url, logged } = await routerTo([await refusingOrigin()])
  const outgoing = request(`${url}/thing`, {
    method: 'POST',
    headers: { expect: '100-continue', 'content-length': 5 },
  })
  outgoing.on('continue', () => expect.unreachable('the body was asked for'))
  outgoing.flushHeaders()
  const [response] = await once(outgoing, 'response')
  expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1'])
  outgoing.destroy()
  expect(logged).toMatchObject([{ error: { code: 'unavailable', status: 503 } }])
})

test('a name that does not resolve: 503', async () => {
  const { url } = await routerTo([new URL('http://no-such-function.invalid:3000')])
  const answer = await ask(url, '/thing')
  expect([answer.status, answer.json().code]).toEqual([503, 'unavailable'])
})

test('refused by one of two: every request is answered by the other, a POST with its body too, and once each', async () => {
  const bodies: string[] = []
  const { origin, seen } = await upstreamWith(async (req, res) => {
    const chunks = await req.toArray()
    bodies.push(Buffer.concat(chunks).toString())
    res.end('done')
  })
  const { url } = await routerTo([await refusingOrigin(), origin])
  for (let i = 0; i < 6; i += 1) {
    const answer = await ask(url, '/thing', { method: 'POST', body: `body ${i}` })
    expect([answer.status, answer.text]).toEqual([200, 'done'])
  }
  expect(seen.length).toBe(6)
  expect(bodies).toEqual([0, 1, 2, 3, 4, 5].map((i) => `body ${i}`))
})

test('all healthy: they take turns', async () => {
  const one = await upstreamWith((_req, res) => res.end())
  const two = await upstreamWith((_req, res) => res.end())
  const { url } = await routerTo([one.origin, two.origin])
  for (let i = 0; i < 6; i += 1) await ask(url, '/thing')
  expect([one.seen.length, two.seen.length]).toEqual([3, 3])
})

test('a kept socket that is reset under a GET: asked once more, on another one', async () => {
  const { origin, count } = await rawUpstream((socket, nth) =>
    nth === 2 ? socket.resetAndDestroy() : socket.write(OK),
  )
  const { url } = await routerTo([origin])
  expect((await ask(url, '/thing')).text).toBe('ok')
  expect((await ask(url, '/thing')).text).toBe('ok')
  expect(count()).toBe(3)
})

test('a kept socket that is reset under a POST: 502, and it is not sent again', async () => {
  const { origin, count } = await rawUpstream((socket, nth) =>
    nth === 2 ? socket.resetAndDestroy() : socket.write(OK),
  )
  const { url } = await routerTo([origin])
  expect((await ask(url, '/thing')).text).toBe('ok')
  const answer = await ask(url, '/thing', { method: 'POST' })
  expect([answer.status, answer.json().code]).toEqual([502, 'bad_gateway'])
  expect(count()).toBe(2)
})

test('hangs up on every try: 502 after two', async () => {
  const { origin, count } = await rawUpstream((socket) => socket.destroy())
  const { url } = await routerTo([origin])
  expect((await ask(url, '/thing')).status).toBe(502)
  expect(count()).toBe(2)
})

test('does not speak HTTP: 502', async () => {
  const { origin } = await rawUpstream((socket) => socket.write('NONSENSE\r\n\r\n'))
  const { url } = await routerTo([origin])
  expect((await ask(url, '/thing', { method: 'POST' })).status).toBe(502)
})

test.each([
  ['with a length', 'content-length: 100\r\n\r\nsome'],
  ['in chunks', 'transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n'],
])('dies in an answer %s: the client sees it cut off, not ended', async (_case, rest) => {
  const { origin } = await rawUpstream((socket) => socket.end(`HTTP/1.1 200 OK\r\n${rest}`))
  const { url } = await routerTo([origin])
  const outgoing = request(`${url}/thing`, { agent: false }).end()
  const [response] = await once(outgoing, 'response')
  const failed = once(response, 'error')
  response.resume()
  expect((await failed)[0].code).toBe('ECONNRESET')
  expect(response.complete).toBe(false)
})
