import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import * as z from 'zod'
import { httpFunction, ok } from '#function'
import { ADMIN_KEY } from '#testing'
import { serveRouter } from './testing/fixtures.ts'

/** Several times the size of the kernel's buffers. */
const BYTES = 24 * 1024 * 1024
const STALL_MS = 1_000

const large = httpFunction({
  name: 'large',
  tag: 'operations',
  route: 'GET /v1/large',
  scope: 'admin',
  summary: 'Answer with much.',
  request: { query: z.strictObject({ bytes: z.coerce.number(), late: z.string().optional() }) },
  responses: { 200: z.string() },
  handler: async ({ query, context }) => {
    if (query.late) {
      late.begun++
      await vi.waitFor(() => expect(context.isGone()).toBe(true))
      late.ended++
    }
    return ok('x'.repeat(query.bytes))
  },
})

/** Requests that are answered only once their client is gone. */
const late = { begun: 0, ended: 0 }

const serveLarge = (clientStallMsMax = STALL_MS) =>
  serveRouter(
    {
      routes: [
        {
          name: 'large',
          method: 'GET',
          path: '/v1/large',
          timeoutMs: 5_000,
          maxBodyBytes: 1_000,
          target: { fetch: large.app.fetch },
        },
      ],
    },
    { clientStallMsMax },
  )

/** Sends a request, and reads nothing of the answer. */
async function askFor(url: string, bytes: number, more = ''): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname).pause()
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(
    `GET /v1/large?bytes=${bytes}${more} HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: Bearer ${ADMIN_KEY}\r\n\r\n`,
  )
  return socket
}

const statusOf = async (url: string, bytes: number) => {
  const answer = await fetch(`${url}/v1/large?bytes=${bytes}`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } })
  return { status: answer.status, length: (await answer.text()).length }
}

test('a client that takes nothing of its answer is cut in time, and one that takes little is not', async () => {
  const { url } = await serveLarge()
  const stalled = await askFor(url, BYTES)
  const slow = await askFor(url, BYTES)
  let taken = 0
  let share = 0
  slow.on('data', (chunk: Buffer) => {
    taken += chunk.length
    if (taken > share) slow.pause()
  })
  // Half a megabyte at a time, since the kernel goes on sending only once a good part of its buffers is free. Lasts three times the stall limit.
  for (let turn = 1; turn <= 36; turn++) {
    share = turn * 512 * 1024
    slow.resume()
    await sleep(STALL_MS / 12)
  }
  expect(taken).toBeLessThan(BYTES)
  share = BYTES
  slow.resume()
  await expect.poll(() => taken, { timeout: 5_000 }).toBeGreaterThan(BYTES)
  slow.destroy()

  let got = 0
  stalled.on('data', (chunk: Buffer) => {
    got += chunk.length
  })
  stalled.resume()
  await once(stalled, 'close')
  expect(got).toBeLessThan(BYTES)
})

test('what clients do not take is bounded, and refused past that until they take it or are cut', async () => {
  const { url } = await serveLarge()
  const stalled = [await askFor(url, BYTES), await askFor(url, BYTES)]
  await expect.poll(() => statusOf(url, BYTES), { timeout: STALL_MS / 2 }).toMatchObject({ status: 503 })
  // Small answers are not affected.
  expect(await statusOf(url, 1_000)).toEqual({ status: 200, length: 1_000 })
  await expect.poll(() => statusOf(url, BYTES), { timeout: 5_000 }).toEqual({ status: 200, length: BYTES })
  for (const socket of stalled) socket.destroy()
})

test('an answer whose client went before it was made counts for nothing', async () => {
  // The client that stays must not be cut, however busy this process is.
  const { url } = await serveLarge(30_000)
  for (let round = 1; round <= 4; round++) {
    const socket = await askFor(url, BYTES, '&late=1')
    await vi.waitFor(() => expect(late.begun).toBe(round))
    socket.destroy()
    await vi.waitFor(() => expect(late.ended).toBe(round))
  }
  expect(await statusOf(url, BYTES)).toEqual({ status: 200, length: BYTES })
})
