import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createHttpServer } from '#function/http-server'
import { ask, sendBytes, serveRouter, signal } from './testing/fixtures.ts'

const shared = { timeoutMs: 30_000, maxBodyBytes: 1_000 }

describe('what never becomes a request', () => {
  test.each([
    ['a header of 20 kB', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'headers_too_large'],
    ['a header of 1 MB', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(1_000_000)}\r\n\r\n`, 431, 'headers_too_large'],
    ['a path of 20 kB', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431, 'headers_too_large'],
    ['no HTTP at all', 'NONSENSE\r\n\r\n', 400, 'malformed_request'],
    ['a header without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n', 400, 'malformed_request'],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      400,
      'malformed_request',
    ],
    ['no Host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'malformed_request'],
  ])('%s gets a problem document', async (_case, bytes, status, code) => {
    const { url } = await serveRouter({ routes: [] })
    const answer = await sendBytes(url, bytes)
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(head.toLowerCase()).toContain('content-type: application/problem+json')
    expect(head.toLowerCase()).toContain('connection: close')
    const { requestId, ...problem } = JSON.parse(body)
    expect(problem).toMatchObject({ status, code })
    expect(head.toLowerCase()).toContain(`request-id: ${requestId}`)
  })

  test('a header that never ends gets 408', async () => {
    const { url } = await serveRouter({ routes: [] }, { headersTimeoutMs: 100 })
    expect(await sendBytes(url, 'GET /healthz HTTP/1.1\r\nHo')).toMatch(/^HTTP\/1.1 408 .*"code":"request_timeout"/s)
  })

  test('a broken chunk in a request whose answer has begun cuts the connection and says nothing more', async () => {
    const begun = signal()
    const fetch = () =>
      new Response(new ReadableStream({ start: (c) => begun.resolve(c.enqueue(Buffer.from('part'))) }))
    const { url } = await serveRouter({
      routes: [{ name: 'x', method: 'POST', path: '/x', ...shared, target: { fetch } }],
    })
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.write('POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n')
    let text = ''
    socket.setEncoding('latin1').on('data', (part: string) => {
      if (text === '') socket.write('not a chunk\r\n')
      text += part
    })
    await once(socket, 'close')
    expect(text).toMatch(/^HTTP\/1.1 200 /)
    expect(text).not.toContain('HTTP/1.1 400')
  })
})

describe('closing', () => {
  /** A router with one route, which answers when the test tells it to. */
  async function heldRouter() {
    const entered = signal()
    const release = signal()
    const fetch = async () => {
      entered.resolve()
      await release.promise
      return new Response('done')
    }
    const route = { name: 'held', method: 'GET' as const, path: '/held', ...shared, target: { fetch } }
    return { ...(await serveRouter({ routes: [route] })), entered: entered.promise, release: () => release.resolve() }
  }

  test('lets what is in flight finish, says so to its client, and takes no one new', async () => {
    const { url, close, entered, release } = await heldRouter()
    const agent = new Agent({ keepAlive: true })
    const outgoing = get(`${url}/held`, { agent })
    await entered
    const closed = close(30_000)
    await expect(ask(url, '/healthz')).rejects.toThrow('ECONNREFUSED')
    release()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    expect([response.statusCode, response.headers.connection]).toEqual([200, 'close'])
    expect(String(Buffer.concat(await response.toArray()))).toBe('done')
    await closed
    agent.destroy()
  })

  test('goes on for as long as it is told to, but ends each connection with its answer', async () => {
    const { url, close } = await heldRouter()
    const agent = new Agent({ keepAlive: true })
    const closed = close(30_000, 1_000)
    const [response] = (await once(get(`${url}/healthz`, { agent }), 'response')) as [IncomingMessage]
    expect([response.statusCode, response.headers.connection]).toEqual([200, 'close'])
    response.resume()
    await closed
    await expect(ask(url, '/healthz')).rejects.toThrow('ECONNREFUSED')
    agent.destroy()
  })

  test('closes connections that are idle and connections that were never used', async () => {
    const { url, close } = await heldRouter()
    const agent = new Agent({ keepAlive: true })
    const [response] = (await once(get(`${url}/healthz`, { agent }), 'response')) as [IncomingMessage]
    await once(response.resume(), 'end')
    const unused = connect(Number(new URL(url).port), '127.0.0.1')
    await once(unused, 'connect')
    await close(30_000)
    unused.destroy()
    agent.destroy()
  })

  test('an answer that had begun before is finished, and its connection closed then', async () => {
    const streaming = signal<ReadableStreamDefaultController<Uint8Array>>()
    const fetch = () => new Response(new ReadableStream({ start: (controller) => streaming.resolve(controller) }))
    const route = { name: 'x', method: 'GET' as const, path: '/x', ...shared, target: { fetch } }
    const { url, close } = await serveRouter({ routes: [route] })
    const agent = new Agent({ keepAlive: true })
    const outgoing = get(`${url}/x`, { agent })
    const controller = await streaming.promise
    controller.enqueue(Buffer.from('first '))
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const closed = close(30_000)
    controller.enqueue(Buffer.from('last'))
    controller.close()
    expect(String(Buffer.concat(await response.toArray()))).toBe('first last')
    await closed
    agent.destroy()
  })

  test('cuts what is not done by the deadline', async () => {
    const { url, close, entered } = await heldRouter()
    const answer = ask(url, '/held')
    const failed = expect(answer).rejects.toThrow('socket hang up')
    await entered
    await close(50)
    await failed
  })

  test('a taken port is an error, not a crash', async () => {
    const { url } = await heldRouter()
    const second = createHttpServer(() => {})
    await expect(second.listen(Number(new URL(url).port), '127.0.0.1')).rejects.toThrow('EADDRINUSE')
  })
})
