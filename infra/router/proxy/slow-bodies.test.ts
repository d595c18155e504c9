import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import * as z from 'zod'
import { httpFunction, ok } from '#function'
import { createHttpServer } from '#function/http-server'
import { ADMIN_KEY } from '#testing'
import { type RawRequest, sendRaw } from '#testing/raw-request'
import { ask, serve } from '../testing/fixtures.ts'
import { routerTo } from '../testing/proxy-fixtures.ts'

const thing = httpFunction({
  name: 'thing',
  route: 'POST /thing',
  tag: 'operations',
  scope: 'products:write',
  summary: 'For a test.',
  request: { body: z.object({ a: z.number() }) },
  responses: { 200: z.object({ a: z.number() }) },
  handler: async ({ body }) => ok(body),
})

/** A router to a function in a separate server, and the number of connections to that server. */
async function routerToFunction() {
  const serveThing = getRequestListener((request, env) => thing.app.fetch(request, env))
  const { server } = createHttpServer((req, res) => void serveThing(req, res))
  const origin = await serve(server)
  return routerTo([origin], { maxBodyBytes: 1024 * 1024 })
}

/** A router to an upstream that wants every body, and reports the requests whose bodies have begun and not ended. */
async function routerToReader() {
  const unfinished = new Set<IncomingMessage>()
  const server = createServer((_req, res) => res.end('done'))
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    unfinished.add(req)
    req.once('close', () => unfinished.delete(req))
    res.writeContinue()
    req.once('end', () => res.end('streamed')).resume()
  })
  const { url } = await routerTo([await serve(server)], { maxBodyBytes: 1024 * 1024 })
  return { url, unfinished }
}

/** Sends a head, and the given part of the body with it. */
function send(url: string, headers: Record<string, string | number>, body = ''): RawRequest {
  const sent = sendRaw(`${url}/thing`, { 'content-type': 'application/json', ...headers }, { body })
  onTestFinished(() => void sent.socket.destroy())
  return sent
}

const authorization = `Bearer ${ADMIN_KEY}`
const BODY = '{"a":1}'
const LARGE = 70_000
const WAIT = { timeout: 20_000 }

describe('a body that is slow', () => {
  test.each([
    ['of which nothing comes', '', { 'content-length': 100 }],
    ['of which a part comes', '{', { 'content-length': 100 }],
    ['in chunks, of which a part comes', '1\r\n{\r\n', { 'transfer-encoding': 'chunked' }],
    ['that is large', '{', { 'content-length': 100_000 }],
    ['that waits to be asked for', '', { 'content-length': 100, expect: '100-continue' }],
  ])('with an unknown key, %s: 401, and it is not asked for', async (_case, body, headers) => {
    const { url } = await routerToFunction()
    const { answer } = send(url, { authorization: 'Bearer unknown', ...headers }, body)
    const text = await answer()
    expect(text).toMatch(/^HTTP\/1.1 401 /)
    // A client that waited for 100 Continue may or may not send the body after all.
    if ('expect' in headers) expect(text.toLowerCase()).toContain('\r\nconnection: close\r\n')
  })

  test('is passed on once it comes', async () => {
    const { url } = await routerToFunction()
    const { socket, answer } = send(url, { authorization, 'content-length': 7, expect: '100-continue' })
    await answer(/^HTTP\/1.1 100 Continue\r\n\r\n$/)
    for (const byte of BODY) {
      socket.write(byte)
      await new Promise(setImmediate)
    }
    expect(await answer(/1\}/)).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 .*\r\n\r\n\{"a":1\}/s)
  })

  test('is refused once a chunk is announced that is too large, before it comes', async () => {
    const { url } = await routerToFunction()
    const headers = { authorization, 'transfer-encoding': 'chunked' }
    expect(await send(url, headers, 'ffffffffffffffff\r\n').answer()).toMatch(/^HTTP\/1.1 413 .*"code":"too_large"/s)
  })

  test('or does not come, is answered 408 when its time is up', async () => {
    const { url } = await routerToFunction()
    const { answer } = send(url, { authorization, 'content-length': 100 })
    expect(await answer()).toMatch(/^HTTP\/1.1 408 .*"code":"request_timeout"/s)
  }, 60_000)
})

describe('many bodies that are slow', () => {
  test('have 48 connections by one key, 64 in all, and the others none the fewer', async () => {
    const { url, unfinished } = await routerToReader()
    const many = (key: string) =>
      Array.from({ length: 150 }, () => send(url, { ...by(key), 'content-length': 100 }, '{'))
    many('one')
    await vi.waitFor(() => expect(unfinished.size).toBe(48), WAIT)
    many('two')
    await vi.waitFor(() => expect(unfinished.size).toBe(64), WAIT)
    const whole = { method: 'POST', body: BODY }
    const answers = await Promise.all(Array.from({ length: 150 }, () => ask(url, '/thing', whole)))
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['done']))
    expect(unfinished.size).toBe(64)
  }, 60_000)

  test('leave a small one to be waited for without a connection, and a large one to be refused', async () => {
    const { url, unfinished } = await routerToReader()
    const occupying = Array.from({ length: 48 }, () => send(url, { ...by('one'), 'content-length': LARGE }, '{'))
    await vi.waitFor(() => expect(unfinished.size).toBe(48), WAIT)
    const silent = send(url, { ...by('one'), 'content-length': 7 })
    const small = send(url, { ...by('one'), 'content-length': 7 }, '{')
    const chunked = send(url, { ...by('one'), 'transfer-encoding': 'chunked' }, '1\r\n{\r\n')
    // This request came after the others. Once its wait is over, so are theirs.
    send(url, { ...by('two'), 'content-length': 7 })
    await vi.waitFor(() => expect(unfinished.size).toBe(49), WAIT)
    for (const headers of [{ 'content-length': LARGE }, { 'content-length': 7, expect: '100-continue' }]) {
      const { answer } = send(url, { ...by('one'), ...headers })
      expect(await answer()).toMatch(/^HTTP\/1.1 503 .*retry-after: 1\r\n.*"code":"overloaded"/is)
    }
    small.socket.write(BODY.slice(1))
    expect(await small.answer()).toMatch(/^HTTP\/1.1 200 .*done/s)
    chunked.socket.write('6\r\n"a":1}\r\n0\r\n\r\n')
    expect(await chunked.answer()).toMatch(/^HTTP\/1.1 200 .*done/s)
    expect(await silent.answer()).toMatch(/^HTTP\/1.1 408 .*"code":"request_timeout"/s)
    for (const { socket } of occupying) socket.destroy()
    await vi.waitFor(() => expect(unfinished.size).toBe(1), WAIT)
    const { socket, answer } = send(url, { ...by('one'), 'content-length': LARGE }, '{')
    socket.write('x'.repeat(LARGE - 1))
    expect(await answer()).toMatch(/^HTTP\/1.1 200 .*streamed/s)
  }, 60_000)
})

function by(key: string) {
  return { authorization: `Bearer ${key}` }
}
