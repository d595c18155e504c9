import { createServer } from 'node:http'
import { describe, expect, test } from 'vitest'
import { ask, type Question, refusingOrigin, serve } from '../testing/fixtures.ts'
import { rawUpstream, routerTo, upstreamWith } from '../testing/proxy-fixtures.ts'

async function upstreamReading() {
  const bodies: string[] = []
  const { origin } = await upstreamWith(async (req, res) => {
    bodies.push(Buffer.concat(await req.toArray()).toString())
    res.end('done')
  })
  return { origin, bodies }
}

/** An upstream that reads its first request to the end and then hangs up, as if it was killed. It answers the second request. */
async function killedOnce() {
  const bodies: string[] = []
  const { origin } = await upstreamWith(async (req, res) => {
    bodies.push(Buffer.concat(await req.toArray()).toString())
    if (bodies.length === 1) req.socket.resetAndDestroy()
    else res.end('done')
  })
  return { origin, bodies }
}

const keyed = { 'idempotency-key': 'once' }
const LIMITS = { maxBodyBytes: 1024 * 1024 }

test.each<[string, Question, string]>([
  ['a POST with an Idempotency-Key', { method: 'POST', headers: keyed, body: 'all of it' }, 'all of it'],
  ['one of 64 KiB', { method: 'POST', headers: keyed, body: 'x'.repeat(65_536) }, 'x'.repeat(65_536)],
  ['one without a length', { method: 'POST', headers: keyed, body: [Buffer.from('in chunks')] }, 'in chunks'],
  ['one without a body', { method: 'POST', headers: { ...keyed, 'content-length': 0 } }, ''],
])('broken off after it was sent: %s is sent once more, whole', async (_case, question, body) => {
  const { origin, bodies } = await killedOnce()
  const { url } = await routerTo([origin], LIMITS)
  const answer = await ask(url, '/thing', question)
  expect([answer.status, answer.text]).toEqual([200, 'done'])
  expect(bodies).toEqual([body, body])
})

test('broken off after it was sent: a POST that only reads is sent once more, without a key', async () => {
  const { origin, bodies } = await killedOnce()
  const { url } = await routerTo([origin], { ...LIMITS, isRead: true })
  const answer = await ask(url, '/thing', { method: 'POST', body: 'all of it' })
  expect([answer.status, answer.text]).toEqual([200, 'done'])
  expect(bodies).toEqual(['all of it', 'all of it'])
})

test.each<[string, Question]>([
  ['a POST without a key', { method: 'POST', body: 'all of it' }],
  ['one with a key, but more than 64 KiB', { method: 'POST', headers: keyed, body: 'x'.repeat(65_537) }],
  ['a DELETE, whose second answer would be 404', { method: 'DELETE', headers: keyed }],
])('broken off after it was sent: %s is not sent again, but answered 502', async (_case, question) => {
  const { origin, bodies } = await killedOnce()
  const { url } = await routerTo([origin], LIMITS)
  const answer = await ask(url, '/thing', question)
  expect([answer.status, answer.json().code]).toEqual([502, 'bad_gateway'])
  expect(bodies.length).toBe(1)
})

test('a POST whose Connection header takes its key away is refused, not sent without it', async () => {
  const { origin, bodies } = await killedOnce()
  const { url } = await routerTo([origin], LIMITS)
  const headers = { ...keyed, connection: 'keep-alive, Idempotency-Key' }
  const answer = await ask(url, '/thing', { method: 'POST', headers, body: 'all of it' })
  expect([answer.status, answer.json().code]).toEqual([400, 'malformed_request'])
  expect(bodies).toEqual([])
})

test('broken off, and then refused: 502, as something may have been done', async () => {
  const { origin } = await rawUpstream((socket) => socket.destroy())
  // The second in the list has the first turn.
  const { url } = await routerTo([await refusingOrigin(), origin])
  const answer = await ask(url, '/thing', { method: 'POST', headers: keyed, body: 'x' })
  expect([answer.status, answer.json().code]).toEqual([502, 'bad_gateway'])
})

test('broken off before the client has sent all of it: 502, as there is nothing to send again', async () => {
  const { origin, count } = await rawUpstream((socket, nth) =>
    nth === 1 ? socket.write('HTTP/1.1 100 Continue\r\n\r\n') : socket.destroy(),
  )
  const { url } = await routerTo([origin])
  const headers = { ...keyed, 'content-length': 100, connection: 'close' }
  const answer = await ask(url, '/thing', { method: 'POST', headers, body: [Buffer.from('the first part')] })
  expect(answer.status).toBe(502)
  expect(count()).toBe(2)
})

describe('an address that has passed to somebody else', () => {
  async function misdirecting() {
    const stranger = await upstreamWith((_req, res) => res.writeHead(421).end())
    const { origin, bodies } = await upstreamReading()
    return { stranger, origin, bodies }
  }

  test.each<[string, Question]>([
    ['a GET', {}],
    ['a POST, even without a key', { method: 'POST', body: 'all of it' }],
  ])('%s is sent to the next one, and says whom it is for', async (_case, question) => {
    const { stranger, origin, bodies } = await misdirecting()
    // The second in the list has the first turn.
    const { url } = await routerTo([origin, stranger.origin], LIMITS)
    const answer = await ask(url, '/thing', { ...question, headers: { function: 'forged' } })
    expect([answer.status, answer.text]).toEqual([200, 'done'])
    expect(bodies).toEqual([question.body ?? ''])
    expect(stranger.seen.map(({ headers }) => headers.function)).toEqual(['thing'])
  })

  test('a large body is not asked for by the stranger, and is sent to the next one', async () => {
    const { origin, bodies } = await upstreamReading()
    const refusing = createServer().on('checkContinue', (_req, res) => res.writeHead(421).end())
    const { url } = await routerTo([origin, await serve(refusing)], LIMITS)
    const body = 'x'.repeat(100_000)
    expect((await ask(url, '/thing', { method: 'POST', body })).text).toBe('done')
    expect(bodies).toEqual([body])
  })

  test.each<[string, Question]>([
    ['there is no other', { method: 'POST', body: 'x' }],
    ['the body is not at hand any more', { method: 'POST', body: 'x'.repeat(65_537) }],
  ])('503 where %s: nothing was done', async (_case, question) => {
    const { stranger } = await misdirecting()
    const { url } = await routerTo([stranger.origin], LIMITS)
    const answer = await ask(url, '/thing', question)
    expect([answer.status, answer.json().code]).toEqual([503, 'unavailable'])
  })
})
