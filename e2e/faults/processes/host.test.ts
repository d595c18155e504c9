import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { environment } from '#config'
import { ADMIN_KEY } from '#testing'
import { listeningUrl, type Started, startFixture } from '../processes.ts'

const HEADERS = { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' }
const CHUNKED = { 'transfer-encoding': 'chunked' }

let host: Started
let url: string

async function start(): Promise<void> {
  const { DATABASE_URL = '' } = environment()
  host = await startFixture(new URL('./host-fixture.ts', import.meta.url), {
    DATABASE_URL,
    PORT: '0',
    HOST: '127.0.0.1',
  })
  url = await listeningUrl(host)
}

async function stop(): Promise<void> {
  host.process.kill('SIGKILL')
  await host.exit
}

/** Posts over a connection that stays open, and returns the answer's head. */
function post(body: object | Buffer, framing: Record<string, string> = {}): Promise<IncomingMessage> {
  const agent = new Agent({ keepAlive: true })
  const sent = request(`${url}/v1/misbehave`, { method: 'POST', agent, headers: { ...HEADERS, ...framing } })
  sent.end(Buffer.isBuffer(body) ? body : JSON.stringify(body))
  return once(sent, 'response').then(([response]) => response as IncomingMessage)
}

async function bodyOf(response: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>
}

const handling = (count: number) =>
  host.line(() => (host.lines.filter((line) => line === 'handling').length >= count ? true : undefined))

describe('a function’s process', () => {
  beforeEach(start)
  afterEach(stop)

  it.each([
    ['SIGTERM', 1],
    ['SIGTERM', 3],
    ['SIGHUP', 1],
  ] as const)(
    'finishes what is in flight on %s, sent %i times, closes its connections, and ends with 0',
    async (signal, times) => {
      const answer = post({ sleepMs: 700 })
      await handling(1)
      host.process.kill(signal)
      await host.line((line) => line.includes('"draining"') || undefined)
      for (let again = 1; again < times; again++) host.process.kill(signal)
      const response = await answer
      expect(response.statusCode).toBe(200)
      expect(response.headers.connection).toBe('close')
      expect(await bodyOf(response)).toEqual({ slept: 700 })
      expect(await host.exit).toBe(0)
      await expect(post({})).rejects.toThrow('ECONNREFUSED')
    },
  )

  it('lets a function know that its client has hung up, or was told that its time is up', async () => {
    const hangsUp = request(`${url}/v1/misbehave`, { method: 'POST', headers: HEADERS })
    hangsUp.on('error', () => {})
    hangsUp.end(JSON.stringify({ sleepMs: 500 }))
    await handling(1)
    hangsUp.destroy()
    expect((await post({ sleepMs: 2_000 })).statusCode).toBe(503)
    expect((await post({ sleepMs: 600 })).statusCode).toBe(200)
    const told = () => host.lines.filter((line) => line.startsWith('the client')).map((line) => line.split(' ').at(-1))
    await host.line(() => (told().length === 3 ? true : undefined))
    expect(told()).toEqual(['gone', 'gone', 'there'])
  })

  it.each([{ 'content-length': '1000' }, { 'transfer-encoding': 'chunked' }])(
    'does nothing for a client that goes away in the middle of its body, and takes it for no defect, with %o',
    async (framing) => {
      const headers = { ...HEADERS, ...framing, expect: '100-continue' }
      const leaves = request(`${url}/v1/misbehave`, { method: 'POST', headers })
      leaves.on('error', () => {})
      leaves.flushHeaders()
      await once(leaves, 'continue')
      leaves.destroy()
      const counted = async () => await (await fetch(`${url}/metrics`)).text()
      await vi.waitFor(async () => expect(await counted()).toMatch(/count\{function="misbehave",status="499"\} 1/))
      expect(host.lines.filter((line) => line === 'handling' || line.includes('"error"'))).toEqual([])
    },
  )

  it('answers 503 when its time is up, and what is past its limit at once', async () => {
    const slow = [post({ sleepMs: 4_000 }), post({ sleepMs: 4_000 })]
    await handling(2)
    const refused = await post({})
    expect(refused.statusCode).toBe(503)
    expect(refused.headers['retry-after']).toBe('1')
    expect(await bodyOf(refused)).toMatchObject({ code: 'overloaded' })
    for (const response of await Promise.all(slow)) {
      expect(response.statusCode).toBe(503)
      expect(await bodyOf(response)).toMatchObject({ code: 'overloaded', detail: expect.stringContaining('1500 ms') })
    }
    // Work that exceeds its time limit keeps its place until it ends.
    expect((await post({})).statusCode).toBe(503)
    await vi.waitFor(async () => expect((await post({})).statusCode).toBe(200), { timeout: 10_000 })
  })

  it('logs an uncaught error, and ends with 1', async () => {
    await post({ crash: true, sleepMs: 1_000 }).catch(() => {})
    expect(await host.exit).toBe(1)
    expect(host.lines.join('\n')).toMatch(/"level":"fatal".*nobody catches this/)
  })

  it('answers what is not HTTP with a problem document', async () => {
    const { port } = new URL(url)
    const socket = connect(Number(port), '127.0.0.1').setEncoding('utf8')
    socket.write('this is no request\r\n\r\n')
    const [text] = await once(socket, 'data')
    expect(text).toMatch(
      /^HTTP\/1.1 400 Bad Request\r\n[\s\S]*application\/problem\+json[\s\S]*"code":"malformed_request"/,
    )
    socket.destroy()
  })

  it('refuses what is meant for another function, and does nothing', async () => {
    const response = await fetch(`${url}/v1/misbehave`, {
      method: 'POST',
      headers: { ...HEADERS, function: 'behave' },
      body: '{"sleepMs":0}',
    })
    expect(response.status).toBe(421)
    expect(await response.json()).toMatchObject({ code: 'misdirected_request' })
    expect(host.lines).not.toContain('handling')
  })

  it('refuses headers that are too large', async () => {
    const response = await fetch(`${url}/healthz`, { headers: { padding: 'x'.repeat(17 * 1024) } })
    expect(response.status).toBe(431)
    expect(await response.json()).toMatchObject({ code: 'headers_too_large' })
  })
})

describe('a function’s process, of a body,', () => {
  beforeAll(start)
  afterAll(stop)

  const framings = ['length', 'chunks', 'mark and length', 'mark and chunks']
  const notUtf8 = ['ff', 'c0af', 'eda080', 'f09f', 'f09f98', 'ff20e282']
  it.each(framings.flatMap((framing) => notUtf8.map((bytes) => [bytes, framing] as const)))(
    'refuses a body with the bytes %s, which are not UTF-8, with %s',
    async (bytes, framing) => {
      const mark = framing.startsWith('mark') ? '\ufeff' : ''
      const json = [Buffer.from(`${mark}{"crash":"`), Buffer.from(bytes, 'hex'), Buffer.from('"}')]
      const response = await post(Buffer.concat(json), framing.endsWith('chunks') ? CHUNKED : {})
      expect(await bodyOf(response)).toMatchObject({ status: 400, code: 'malformed_json' })
    },
  )

  it.each(framings)('reads a body that has U+FFFD itself, with %s', async (framing) => {
    const mark = framing.startsWith('mark') ? '\ufeff' : ''
    const body = Buffer.from(`${mark}{"crash":"größe \uFFFD 🚚"}`)
    const response = await post(body, framing.endsWith('chunks') ? CHUNKED : {})
    expect(await bodyOf(response)).toMatchObject({ status: 422, errors: [{ path: 'crash' }] })
  })
})
