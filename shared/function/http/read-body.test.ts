import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { type FunctionDefinition, httpFunction, ok, Upload } from '#function'
import { ADMIN_KEY, newKey } from '#testing'
import { type RawRequest, sendRaw } from '#testing/raw-request'
import { createHttpServer } from '../host/http-server.ts'

const MIB = 1024 * 1024

/** With the size and the concurrency limits of an import. */
const upload = httpFunction({
  name: 'upload',
  route: 'POST /v1/upload',
  tag: 'operations',
  scope: 'products:write',
  summary: 'For a test.',
  request: { body: Upload, contentTypes: ['text/csv'] },
  responses: { 200: z.object({ bytes: z.number() }) },
  limits: { maxBodyBytes: 32 * MIB, inFlight: 4 },
  handler: async ({ body }) => ok({ bytes: body.blocks.reduce((sum, { length }) => sum + length, 0) }),
})

const server = createHttpServer((req, res) => void serve(req, res))
const serve = getRequestListener((request, env) => upload.app.fetch(request, env))
let port: number

beforeAll(async () => {
  await server.listen(0, '127.0.0.1')
  port = (server.server.address() as AddressInfo).port
})
afterAll(() => server.close(0))

/** Sends a head to the server, with the given part of the body. */
function send(headers: Record<string, string | number>, body = '', version = '1.1'): RawRequest {
  const all = { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'text/csv', ...headers }
  const { socket, answer } = sendRaw(`http://127.0.0.1:${port}/v1/upload`, all, { body, version })
  return { socket, answer: (pattern = /\r\n\r\n.*\}$/s) => answer(pattern) }
}

describe('a body that stops', () => {
  it.concurrent.each([
    ['before its length', { 'content-length': 100 }, 'a,b,c'],
    ['before its first byte', { 'content-length': 100 }, ''],
    ['in the middle of a chunk', { 'transfer-encoding': 'chunked' }, 'ff\r\nabc'],
    ['between two chunks', { 'transfer-encoding': 'chunked' }, '1\r\na\r\n'],
  ])(
    '%s is answered 408 when its time is up, and its connection closed',
    async (_, headers, body) => {
      const { socket, answer } = send(headers, body)
      const closed = once(socket, 'close')
      const text = await answer()
      expect(text).toMatch(/^HTTP\/1.1 408 .*"code":"request_timeout"/s)
      expect(text.toLowerCase()).toContain('connection: close')
      await closed
    },
    15_000,
  )

  it('holds no place: others are served while many of one key stop', async () => {
    const key = await newKey('products:write')
    const authorization = `Bearer ${key}`
    const stopped = Array.from({ length: 40 }, () => send({ authorization, 'content-length': 100 }, 'a'))
    await Promise.all(stopped.map(({ socket }) => once(socket, 'connect')))
    const answers = await Promise.all([ADMIN_KEY, ADMIN_KEY, key].map((own) => statusOf(own)))
    expect(answers).toEqual([200, 200, 200])
    expect(upload.inFlight()).toBe(0)
    for (const { socket } of stopped) socket.destroy()
  })

  it('takes no more memory than a process has for bodies, and of that no more than a key’s share', async () => {
    const key = await newKey('products:write')
    const large = (own: string) => {
      const sent = send({ authorization: `Bearer ${own}`, 'content-length': 31 * MIB })
      sent.socket.write(Buffer.alloc(30 * MIB, 'a'))
      return sent
    }
    const first = [large(key), large(key), large(key), large(key)]
    const refused = await Promise.race(first.map(({ answer }) => answer()))
    expect(refused).toMatch(/^HTTP\/1.1 503 .*"code":"overloaded"/s)
    expect(await statusOf(ADMIN_KEY)).toBe(200)
    for (const { socket } of first) socket.destroy()
  })
})

describe('a body that nobody wants', () => {
  it.each([
    ['of a key that is not known', { authorization: 'Bearer unknown' }, 401],
    ['that is too large', { 'content-length': 33 * MIB }, 413],
    ['of another type', { 'content-type': 'text/html' }, 415],
    ['in gzip', { 'content-encoding': 'gzip' }, 415],
    ['in gzip, said twice', { 'content-encoding': 'identity, gzip' }, 415],
  ])('%s is refused by its head', async (_, headers, status) => {
    const { answer, socket } = send({ 'content-length': 100, expect: '100-continue', ...headers })
    const text = await answer()
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    // The client may still send the body, or not: it must not be taken for the next request.
    expect(text.toLowerCase()).toContain('\r\nconnection: close\r\n')
    socket.destroy()
  })

  it('of a key without the scope is refused by its head, and a client that goes on sending gets the answer', async () => {
    const authorization = `Bearer ${await newKey('stock:read')}`
    const { answer, socket } = send({ authorization, 'content-length': 20 * MIB })
    const sent = new Promise((resolve) => socket.write(Buffer.alloc(20 * MIB), resolve))
    expect(await answer()).toMatch(/^HTTP\/1.1 403 /)
    await sent
    socket.destroy()
  })

  it('is refused once a chunk is announced that is too large, before it comes', async () => {
    const { answer, socket } = send({ 'transfer-encoding': 'chunked' }, '3\r\nabc\r\n')
    socket.write('ffffffffffffffff\r\n')
    expect(await answer()).toMatch(/^HTTP\/1.1 413 /)
    socket.destroy()
  })

  it('is refused once more of it has come than may', async () => {
    const { answer, socket } = send({ 'transfer-encoding': 'chunked' })
    const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(MIB), Buffer.from('\r\n')])
    for (let sent = 0; sent < 34; sent++) socket.write(chunk)
    expect(await answer()).toMatch(/^HTTP\/1.1 413 /)
    socket.destroy()
  })
})

describe('100 Continue', () => {
  const headers = { expect: '100-continue', 'content-length': 3, connection: 'close' }

  it('is said to a client that waits for it', async () => {
    const { answer, socket } = send(headers)
    expect(await answer(/^HTTP\/1.1 100 Continue\r\n\r\n$/)).toBeDefined()
    socket.write('abc')
    expect(await answer()).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 /)
  })

  it('is not said to one that speaks HTTP/1.0', async () => {
    expect(await send(headers, 'abc', '1.0').answer()).toMatch(/^HTTP\/1.1 200 /)
  })
})

it('reads a body of the largest size, in one byte or many at a time', async () => {
  const { answer, socket } = send({ 'content-length': 32 * MIB })
  for (let part = 0; part < 32; part++) socket.write(Buffer.alloc(MIB, 'a'))
  expect(await answer()).toContain(`{"bytes":${32 * MIB}}`)
  const slow = send({ 'content-length': 3 })
  for (const byte of 'abc') {
    slow.socket.write(byte)
    await new Promise(setImmediate)
  }
  expect(await slow.answer()).toContain('{"bytes":3}')
  socket.destroy()
  slow.socket.destroy()
})

async function statusOf(key: string): Promise<number> {
  const { answer, socket } = send({ authorization: `Bearer ${key}`, 'content-length': 3, connection: 'close' }, 'abc')
  const status = Number((await answer()).slice('HTTP/1.1 '.length, 12))
  socket.destroy()
  return status
}

/** A function with this many slots, whose handlers wait. */
function occupied(slots: number): FunctionDefinition {
  return httpFunction({
    name: `held-${slots}`,
    route: 'POST /v1/held',
    tag: 'operations',
    scope: 'products:write',
    summary: 'For a test.',
    limits: { inFlight: slots },
    responses: { 200: z.object({}) },
    handler: () => new Promise(() => {}),
  })
}

it.each([
  [1, 1],
  [4, 3],
  [512, 384],
])('of %i slots one key has %i at most, and another finds one', async (slots, share) => {
  const held = occupied(slots)
  const [one, other] = [await newKey('products:write'), await newKey('products:write')]
  const ask = (key: string) =>
    held.app.fetch(
      new Request('http://localhost/v1/held', { method: 'POST', headers: { authorization: `Bearer ${key}` } }),
    )
  for (let asked = 0; asked <= slots; asked++) void ask(one)
  await expect.poll(() => held.inFlight()).toBe(share)
  if (share === slots) return
  void ask(other)
  await expect.poll(() => held.inFlight()).toBe(share + 1)
})
