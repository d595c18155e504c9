import { expect, test } from 'vitest'
import { ask } from '../testing/fixtures.ts'
import { rawUpstream, routerTo, upstreamWith } from '../testing/proxy-fixtures.ts'

test('hop-by-hop headers stay on their hop, on the way there', async () => {
  const { origin, seen } = await upstreamWith((_req, res) => res.end())
  const { url } = await routerTo([origin])
  const dropped = {
    connection: 'close, X-Private',
    'x-private': 'secret',
    'keep-alive': 'timeout=5',
    te: 'trailers',
    'proxy-authorization': 'Basic x',
    'proxy-connection': 'keep-alive',
    upgrade: 'h2c',
    expect: 'a miracle',
  }
  await ask(url, '/thing', { headers: { ...dropped, 'X-Kept': 'Yes', baggage: 'customer=1' } })
  const headers = seen[0]?.headers ?? {}
  for (const name of Object.keys(dropped).slice(1)) expect(headers).not.toHaveProperty(name)
  expect(headers).toMatchObject({ 'x-kept': 'Yes', baggage: 'customer=1' })
  expect(headers.connection).toBe('keep-alive')
  expect(seen[0]?.rawHeaders).toContain('X-Kept')
})

test('hop-by-hop headers stay on their hop, on the way back, and the rest keeps its order', async () => {
  const lines = ['Zebra: 1', 'Connection: X-Inner', 'X-Inner: 2', 'Keep-Alive: timeout=9', 'Proxy-Authenticate: Basic']
  const more = [
    'Set-Cookie: a=1',
    'Apple: 3',
    'Set-Cookie: b=2',
    'Trailer: X-Sum',
    'Request-Id: theirs',
    'Content-Length: 0',
  ]
  const answer = `HTTP/1.1 200 OK\r\n${[...lines, ...more].join('\r\n')}\r\n\r\n`
  const { origin } = await rawUpstream((socket) => socket.write(answer))
  const { url } = await routerTo([origin])
  const { rawHeaders } = await ask(url, '/thing', { headers: { 'request-id': 'ours' } })
  const kept = ['Zebra', '1', 'Set-Cookie', 'a=1', 'Apple', '3', 'Set-Cookie', 'b=2', 'Content-Length', '0']
  expect(rawHeaders.slice(0, kept.length + 2)).toEqual([...kept, 'request-id', 'ours'])
  expect(rawHeaders).not.toContain('X-Inner')
})

test('says who asked, how and for whom, after what a proxy in front has said', async () => {
  const { origin, seen } = await upstreamWith((_req, res) => res.end())
  const { url } = await routerTo([origin])
  await ask(url, '/thing', { headers: { host: 'shop.example' } })
  expect(seen[0]?.headers).toMatchObject({
    host: origin.host,
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': 'shop.example',
    via: '1.1 router',
  })
  const forwarded = {
    'x-forwarded-for': '203.0.113.9',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'a.example',
  }
  await ask(url, '/thing', { headers: forwarded })
  expect(seen[1]?.headers).toMatchObject({ ...forwarded, 'x-forwarded-for': '203.0.113.9, 127.0.0.1' })
})
