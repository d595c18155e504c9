import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createHttpServer, type ServerOptions } from './http-server.ts'
import { localHosts } from './request-head.ts'

/** Everything that the server sends in answer to the bytes, until the connection is closed. */
async function answerTo(bytes: string, options: ServerOptions = {}): Promise<string> {
  const server = createHttpServer((req, res) => {
    req.resume()
    res.setHeader('connection', 'close')
    res.end(`served ${req.url}`)
  }, options)
  onTestFinished(() => server.close(0))
  const url = await server.listen(0, '127.0.0.1')
  const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('latin1')
  let text = ''
  socket.on('data', (part: string) => {
    text += part
  })
  socket.write(bytes)
  await once(socket, 'close')
  return text
}

const post = (lines: string, body = '', version = '1.1') =>
  `POST /v1/products HTTP/${version}\r\n${lines.replaceAll('\n', '\r\n')}\r\n\r\n${body}`
const CHUNKS = '3\r\nabc\r\n0\r\n\r\n'

describe('a head that HTTP forbids, or that could be read in two ways,', () => {
  it.each([
    ['no Host', post('Content-Length: 0')],
    ['no Host, in HTTP/1.0', post('Content-Length: 0', '', '1.0')],
    ['two hosts', post('Host: a\nHost: b\nContent-Length: 0')],
    ['one host twice', post('Host: a\nhost: a\nContent-Length: 0')],
    ['an empty Host', post('Host:\nContent-Length: 0')],
    ['a Host with a path', post('Host: a/b\nContent-Length: 0')],
    ['a Host with a user', post('Host: a@b\nContent-Length: 0')],
    ['a Host with a space', post('Host: a b\nContent-Length: 0')],
    ['a Host with two ports', post('Host: a:1:2\nContent-Length: 0')],
    ['a Host with a port that can not be', post('Host: a:99999\nContent-Length: 0')],
    ['a Host with half an address', post('Host: [::1\nContent-Length: 0')],
    ['a target without a host', 'GET http:///v1/products HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a coding that is none', post('Host: a\nTransfer-Encoding: xchunked', CHUNKS)],
    ['gzip', post('Host: a\nTransfer-Encoding: gzip', 'abc')],
    ['gzip in chunks', post('Host: a\nTransfer-Encoding: gzip, chunked', CHUNKS)],
    ['gzip in chunks, in two lines', post('Host: a\nTransfer-Encoding: gzip\nTransfer-Encoding: chunked', CHUNKS)],
    ['chunks in gzip', post('Host: a\nTransfer-Encoding: chunked, gzip', CHUNKS)],
    ['identity', post('Host: a\nTransfer-Encoding: identity')],
    ['chunks in HTTP/1.0', post('Host: a\nTransfer-Encoding: chunked', CHUNKS, '1.0')],
    ...[
      'Authorization',
      'Idempotency-Key',
      'If-Match',
      'If-None-Match',
      'Content-Type',
      'Content-Length',
      'Consistency-Token',
      'Request-Id',
      'traceparent',
      'baggage',
      'Host',
      'X-Forwarded-For',
      'Function',
    ].map((name) => [
      `a Connection that names ${name}`,
      post(`Host: a\nConnection: keep-alive,${name}\nContent-Length: 0`),
    ]),
  ])('is answered 400 with a problem document: %s', async (_, bytes = '') => {
    const answer = await answerTo(bytes)
    expect(answer).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/)
    expect(answer.toLowerCase()).toContain('content-type: application/problem+json')
    const [, body = ''] = answer.split('\r\n\r\n')
    expect(JSON.parse(body)).toMatchObject({ status: 400, code: 'malformed_request' })
    expect(answer).not.toContain('served')
  })

  it('is answered 400 with its body still to come', async () => {
    expect(await answerTo(post('Host: a\nHost: b\nContent-Length: 9', 'abc'))).toMatch(/^HTTP\/1.1 400 /)
  })

  it.each([
    ['chunks', post('Host: a\nTransfer-Encoding: Chunked', CHUNKS)],
    ['HTTP/1.0', post('Host: a\nContent-Length: 3', 'abc', '1.0')],
    ['a port', post('Host: a.example:8080\nContent-Length: 0')],
    ['an address', post('Host: [::1]:8080\nContent-Length: 0')],
    [
      'headers of the connection',
      post('Host: a\nConnection: keep-alive, TE, X-Hop\nTE: trailers\nX-Hop: 1\nContent-Length: 0'),
    ],
    ['a target in absolute form', 'GET http://b/v1/products HTTP/1.1\r\nHost: a\r\n\r\n'],
  ])('is not one with %s', async (_, bytes) => {
    expect(await answerTo(bytes)).toMatch(/^HTTP\/1.1 200 /)
  })
})

describe('a server of this machine alone', () => {
  const isServed = localHosts(['shop.example', '[fe80::1]'])
  const get = (host: string, target = '/') => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`

  it.each([
    'localhost',
    'LOCALHOST:3000',
    'localhost.',
    'shop.localhost:81',
    '127.0.0.1',
    '127.8.9.10:3000',
    '[::1]:3000',
    '[0:0:0:0:0:0:0:1]',
    'shop.example:443',
    'Shop.Example',
    '[fe80::1]',
  ])('serves %s', async (host) => {
    expect(await answerTo(get(host), { isServed })).toMatch(/^HTTP\/1.1 200 /)
  })

  it.each([
    ['evil.example', '/'],
    ['localhost.evil.example', '/'],
    ['notlocalhost', '/'],
    ['127.0.0.1.evil.example', '/'],
    ['192.168.0.7:3000', '/'],
    ['0.0.0.0', '/'],
    ['[::]', '/'],
    ['evil.shop.example', '/'],
    ['localhost', 'http://evil.example/'],
    ['evil.example', 'http://localhost/'],
  ])('answers %s 421, with the target %s', async (host, target) => {
    const answer = await answerTo(get(host, target), { isServed })
    expect(answer).toMatch(/^HTTP\/1.1 421 .*"code":"misdirected_request"/s)
  })
})
