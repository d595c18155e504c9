import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { expect, test } from 'vitest'
import { chunksOf, serve, serveRouter, signal, untilStill } from '../testing/fixtures.ts'

const CHUNK = 64 * 1024
/** 64 MiB: several times the size of the kernel's buffers on the two connections of a proxied request. */
const CHUNKS = 1_024
const BYTES = CHUNKS * CHUNK
/** The kernel buffers a few megabytes; this process must not buffer the rest. */
const HELD_BYTES_MAX = 16 * 1024 * 1024

async function routerTo(handler: (req: IncomingMessage, res: ServerResponse) => void) {
  const target = { upstreams: [await serve(createServer(handler))] }
  const shared = { name: 'thing', path: '/stream', timeoutMs: 30_000, maxBodyBytes: BYTES, target }
  return serveRouter({
    routes: [
      { ...shared, method: 'POST' },
      { ...shared, method: 'GET' },
    ],
  })
}

test("an upload waits for an upstream that does not read, and is held in no one's memory", async () => {
  const arrived = signal<IncomingMessage>()
  const { url } = await routerTo((req, res) => {
    arrived.resolve(req)
    req.once('end', () => res.end('all of it'))
  })
  const outgoing = request(`${url}/stream`, { method: 'POST', agent: false })
  const answered = once(outgoing, 'response')
  const before = process.memoryUsage().arrayBuffers
  const sending = pipeline(chunksOf(CHUNKS), outgoing)
  const received = await arrived.promise
  const sent = await untilStill(() => outgoing.socket?.bytesWritten ?? 0)
  expect(sent).toBeLessThan(BYTES)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(HELD_BYTES_MAX)
  let bytes = 0
  received.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  await sending
  await answered
  expect(bytes).toBe(BYTES)
})

test("a download waits for a client that does not read, and is held in no one's memory", async () => {
  const answering = signal<ServerResponse>()
  const { url } = await routerTo((_req, res) => {
    answering.resolve(res)
    void pipeline(chunksOf(CHUNKS), res)
  })
  const outgoing = request(`${url}/stream`, { agent: false }).end()
  const before = process.memoryUsage().arrayBuffers
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const { socket } = await answering.promise
  const sent = await untilStill(() => socket?.bytesWritten ?? 0)
  expect(sent).toBeLessThan(BYTES)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(HELD_BYTES_MAX)
  let bytes = 0
  for await (const chunk of response) bytes += (chunk as Buffer).length
  expect(bytes).toBe(BYTES)
})

test('a client that leaves in the middle of its upload takes the upstream request with it', async () => {
  const arrived = signal()
  const broken = signal()
  const { url } = await routerTo((req) => {
    req.on('data', () => arrived.resolve())
    req.on('error', () => broken.resolve())
  })
  const outgoing = request(`${url}/stream`, { method: 'POST', agent: false })
  outgoing.on('error', () => {})
  outgoing.write('the first part')
  await arrived.promise
  outgoing.destroy()
  await broken.promise
})

test('a client that leaves in the middle of an answer stops the upstream', async () => {
  const stopped = signal()
  const { url } = await routerTo((_req, res) => {
    res.on('close', () => stopped.resolve())
    res.write('the first part')
  })
  const outgoing = request(`${url}/stream`, { agent: false }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  await once(response, 'data')
  outgoing.destroy()
  await stopped.promise
})

test('an upload arrives while it is sent, and the answer can come before its end', async () => {
  const { url } = await routerTo((req, res) => {
    req.once('data', (chunk: Buffer) => res.end(`saw ${chunk}`))
  })
  const outgoing = request(`${url}/stream`, { method: 'POST', agent: false })
  outgoing.write('the start')
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  expect(String(Buffer.concat(await response.toArray()))).toBe('saw the start')
  outgoing.end()
})
