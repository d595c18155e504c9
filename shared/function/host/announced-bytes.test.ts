import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { watchAnnounced } from './announced-bytes.ts'
import { createHttpServer } from './http-server.ts'

/** For each request in turn: the bytes that were announced in total, and those that came. */
const told: Array<{ announced: number; came: number }> = []
const http = createHttpServer((req: IncomingMessage, res) => {
  const one = { announced: 0, came: 0 }
  told.push(one)
  const more = () => {
    one.announced += 1
    watchAnnounced(req, one.announced, more)
  }
  watchAnnounced(req, 0, more)
  if (req.headers.expect !== undefined) res.writeContinue()
  req.on('data', (chunk: Buffer) => {
    one.came += chunk.length
  })
  req.on('end', () => res.end('done'))
})
beforeAll(() => http.listen(0, '127.0.0.1'))
afterAll(() => http.close(0))

function open(): Socket {
  return connect((http.server.address() as AddressInfo).port, '127.0.0.1').setNoDelay(true)
}

/** A generator of numbers below 1, by a seed: https://en.wikipedia.org/wiki/Xorshift */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const DATA = [
  '\r\n0\r\n\r\n',
  'ffffffff\r\n',
  'POST /0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n',
  'x',
  '\n',
]
const EXTENSIONS = ['', ';a=b', ';a="ffff;0"', ';0', ';a;b=c']

/** A legal request, and how many bytes its body has. */
function requestOf(random: (below: number) => number): { text: string; bytes: number } {
  let text = 'POST /0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n'
  if (random(4) === 0) text += 'Expect: 100-continue\r\n'
  for (let lines = random(8) === 0 ? 40 : 0; lines > 0; lines--) text += `X-${lines}: 1\r\n`
  text += '\r\n'
  let bytes = 0
  for (let chunks = random(5); chunks > 0; chunks--) {
    const data = Array.from({ length: 1 + random(4) }, () => DATA[random(DATA.length)]).join('')
    const size = data.length.toString(16)
    text += `${'0'.repeat(random(3))}${random(2) ? size : size.toUpperCase()}${EXTENSIONS[random(EXTENSIONS.length)]}\r\n${data}\r\n`
    bytes += data.length
  }
  return { text: `${text}0${EXTENSIONS[random(EXTENSIONS.length)]}\r\n${random(3) ? '' : 'ffff: 1\r\n'}\r\n`, bytes }
}

it('never tells of more than comes, however requests are cut, pipelined and framed', async () => {
  let followed = 0
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomOf(seed)
    const requests = Array.from({ length: 1 + random(5) }, () => requestOf(random))
    const bytes = requests.map(({ text }) => text)
    const pieces = random(3) === 0 ? bytes : cut(bytes.join(''), random)
    told.length = 0
    const accepted = once(http.server, 'connection') as Promise<[Socket]>
    const socket = open().resume()
    const [other] = await accepted
    let sent = 0
    for (const piece of pieces) {
      sent += piece.length
      socket.write(piece)
      // The server must have read this piece before the next one is sent.
      while (other.bytesRead < sent) await nextTurn()
    }
    await expect.poll(() => told.map(({ came }) => came), { interval: 1 }).toEqual(requests.map((one) => one.bytes))
    for (const { announced, came } of told) {
      expect([0, came], `seed ${seed}`).toContain(announced)
      if (announced > 0) followed++
    }
    // Only Node's own listener.
    expect(other.listenerCount('data'), `seed ${seed}`).toBe(1)
    socket.destroy()
  }
  expect(followed).toBeGreaterThan(10)
}, 60_000)

it('tells of a chunk before it comes', async () => {
  told.length = 0
  const socket = open()
  socket.write('POST /0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')
  await expect.poll(() => told[0]?.announced).toBe(3)
  socket.write('f')
  socket.write('f;x\r\n')
  await expect.poll(() => told[0]?.announced).toBe(258)
  socket.destroy()
  await once(socket, 'close')
})

function cut(text: string, random: (below: number) => number): string[] {
  const pieces: string[] = []
  for (let at = 0; at < text.length; ) {
    const length = 1 + random(random(2) ? 8 : 200)
    pieces.push(text.slice(at, at + length))
    at += length
  }
  return pieces
}
