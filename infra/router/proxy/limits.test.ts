import { once } from 'node:events'
import { request } from 'node:http'
import { expect, test } from 'vitest'
import { ask, sendBytes, signal } from '../testing/fixtures.ts'
import { routerTo, upstreamWith } from '../testing/proxy-fixtures.ts'

test('silent for too long: 504, and the upstream is told', async () => {
  const left = signal()
  const { origin, seen } = await upstreamWith((_req, res) => res.on('close', () => left.resolve()))
  const { url, logged } = await routerTo([origin], { timeoutMs: 500 })
  const answer = await ask(url, '/thing', { headers: { 'request-id': 'late' } })
  expect([answer.status, answer.headers['request-id']]).toEqual([504, 'late'])
  expect(answer.json()).toMatchObject({ code: 'gateway_timeout', requestId: 'late', instance: '/thing' })
  await left.promise
  expect(seen.length).toBe(1)
  expect(logged).toMatchObject([{ requestId: 'late', error: { code: 'gateway_timeout' } }])
})

test('silent while another one answers: one request is lost to it, and the next ones are not', async () => {
  const silent = await upstreamWith(() => {})
  const other = await upstreamWith((_req, res) => res.end('done'))
  // The second in the list has the first turn.
  const { url } = await routerTo([other.origin, silent.origin], { timeoutMs: 500 })
  const statuses = [
    (await ask(url, '/thing')).status,
    (await ask(url, '/thing')).status,
    (await ask(url, '/thing')).status,
  ]
  // With turns alone, the silent one would have got the third request.
  expect(statuses).toEqual([504, 200, 200])
})

test.each(['half', ''])(
  'a client that stalls in its upload, after %j, is not held against the upstream',
  async (sent) => {
    const one = await upstreamWith((req, res) => req.on('end', () => res.end()).resume())
    const two = await upstreamWith((req, res) => req.on('end', () => res.end()).resume())
    const { url } = await routerTo([one.origin, two.origin], { timeoutMs: 1_000 })
    const stalling = request(`${url}/thing`, { method: 'POST', agent: false, headers: { 'content-length': 10 } })
    stalling.flushHeaders()
    stalling.write(sent)
    const [response] = await once(stalling, 'response')
    expect(response.statusCode).toBe(408)
    stalling.destroy()
    for (let i = 0; i < 4; i += 1) await ask(url, '/thing')
    const seen = [one.seen.length, two.seen.length].sort()
    expect(seen).toEqual([2, 3])
  },
)

test('a body in a coding is refused by its head, and no upstream is asked', async () => {
  const { origin, seen } = await upstreamWith((_req, res) => res.end())
  const { url } = await routerTo([origin])
  const headers = { 'content-encoding': 'gzip', 'content-length': 10, expect: '100-continue' }
  const outgoing = request(`${url}/thing`, { method: 'POST', agent: false, headers })
  outgoing.flushHeaders()
  const [response] = await once(outgoing, 'response')
  expect(response.statusCode).toBe(415)
  expect(seen.length).toBe(0)
  outgoing.destroy()
})

test('an answer that takes longer than the limit in all is not cut while it goes on', async () => {
  const pieces = 18
  const { origin } = await upstreamWith((_req, res) => {
    let sent = 0
    const timer = setInterval(() => {
      sent += 1
      res.write('x')
      if (sent < pieces) return
      clearInterval(timer)
      res.end()
    }, 100)
  })
  const { url } = await routerTo([origin], { timeoutMs: 1_500 })
  expect((await ask(url, '/thing')).text).toBe('x'.repeat(pieces))
})

test('an answer that stops half-way is cut', async () => {
  const { origin } = await upstreamWith((_req, res) => res.write('half'))
  const { url } = await routerTo([origin], { timeoutMs: 500 })
  await expect(ask(url, '/thing')).rejects.toThrow('aborted')
})

test('a chunked body past the limit: 413, and the upstream sees its request broken off', async () => {
  const [asked, broken] = [signal(), signal()]
  const { origin } = await upstreamWith((req) => {
    asked.resolve()
    req.on('error', () => broken.resolve())
    req.resume()
  })
  const { url } = await routerTo([origin], { maxBodyBytes: 128 * 1024 })
  const outgoing = request(`${url}/thing`, { method: 'POST', agent: false })
  outgoing.write(Buffer.alloc(128 * 1024))
  await asked.promise
  outgoing.write('x')
  const [response] = await once(outgoing, 'response')
  expect(response.statusCode).toBe(413)
  await broken.promise
  outgoing.destroy()
})

test('a small chunked body past the limit: 413, and no upstream is asked', async () => {
  const { origin, seen } = await upstreamWith((_req, res) => res.end())
  const { url } = await routerTo([origin])
  const outgoing = request(`${url}/thing`, { method: 'POST', agent: false })
  outgoing.write(Buffer.alloc(1024))
  outgoing.write('x')
  const [response] = await once(outgoing, 'response')
  expect(response.statusCode).toBe(413)
  expect(seen.length).toBe(0)
  outgoing.destroy()
})

test('a Transfer-Encoding that Node does not undo is refused', async () => {
  const { origin, seen } = await upstreamWith((_req, res) => res.end())
  const { url } = await routerTo([origin])
  const head = 'POST /thing HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'
  const answer = await sendBytes(url, `${head}0\r\n\r\n`)
  expect(answer).toMatch(/^HTTP\/1.1 400 /)
  expect(seen.length).toBe(0)
})

test('a request with both a length and chunks never reaches an upstream', async () => {
  const { origin, seen } = await upstreamWith((_req, res) => res.end())
  const { url } = await routerTo([origin])
  const head = 'POST /thing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'
  expect(await sendBytes(url, `${head}0\r\n\r\nGET /thing HTTP/1.1\r\n`)).toMatch(/^HTTP\/1.1 400 /)
  expect(seen.length).toBe(0)
})
