import { once } from 'node:events'
import { type IncomingMessage, type OutgoingHttpHeaders, request, type Server } from 'node:http'
import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { createHttpServer, type HttpServer, type ServerOptions } from '#function/http-server'
import { openApiOf } from '#openapi'
import { problemsOf } from '#testing/contract'
import { createRouter, type RouterOptions } from '../router.ts'

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  rawHeaders: string[]
  text: string
  json(): Record<string, unknown>
}

export interface Question {
  method?: string
  headers?: OutgoingHttpHeaders
  body?: string | Buffer | Iterable<Buffer>
}

/** An event that happens once: one side sends it, another awaits it. */
export interface Signal<Value> {
  promise: Promise<Value>
  resolve(value: Value): void
}

export function signal<Value = void>(): Signal<Value> {
  let resolve: Signal<Value>['resolve'] = () => {}
  const promise = new Promise<Value>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** Serves a router on a free port until the test is over. */
export async function serveRouter(
  options: Omit<RouterOptions, 'openapi'> & { openapi?: object },
  serverOptions?: ServerOptions,
): Promise<{ url: string } & HttpServer> {
  const router = createRouter({ openapi: { openapi: '3.1.0', info: { title: 'Stock' } }, ...options })
  const server = createHttpServer(router.listener, serverOptions)
  const url = await server.listen(0, '127.0.0.1')
  onTestFinished(async () => {
    await server.close(0)
    await router.close()
  })
  return { url, ...server }
}

/** Starts a server on a free port until the test is over. Returns its origin. */
export function serve(server: Server | NetServer): Promise<URL> {
  return serveOn(server, 0, '127.0.0.1')
}

/** The same at the given port and address. */
export async function serveOn(server: Server | NetServer, port: number, address: string): Promise<URL> {
  server.listen(port, address)
  await once(server, 'listening')
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return originOf(server)
}

export function originOf(server: Server | NetServer): URL {
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

/** An origin that refuses connections: its port was free a moment ago. */
export async function refusingOrigin(): Promise<URL> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = originOf(server)
  server.close()
  await once(server, 'close')
  return origin
}

const checkProblem = problemsOf(openApiOf([], '0.0.0'))

/** Sends one request on its own connection. Rejects if the answer breaks off. An iterable body is sent in chunks. */
export async function ask(base: string | URL, path: string, question: Question = {}): Promise<Answer> {
  const { method = 'GET', headers = {}, body } = question
  const outgoing = request(new URL(base), { path, method, headers, agent: false })
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>
  if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) outgoing.end(body)
  else void writeAll(outgoing, body)
  const [response] = await answered
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  if (response.headers['content-type'] === 'application/problem+json' && text !== '') checkProblem(JSON.parse(text))
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    text,
    json: () => JSON.parse(text) as Record<string, unknown>,
  }
}

/** Sends bytes as they are and returns everything that comes back until the other side closes. Rejects if it closes with a reset. */
export async function sendBytes(base: string | URL, bytes: string): Promise<string> {
  const { hostname, port } = new URL(base)
  const socket = connect(Number(port), hostname)
  socket.write(bytes)
  let text = ''
  socket.setEncoding('latin1').on('data', (part: string) => {
    text += part
  })
  await once(socket, 'close')
  return text
}

/**
 * Waits until a count has not changed for a thousand turns of the event loop. Everything here runs in one process over loopback,
 * so bytes that can still move do so within a turn or two.
 */
export async function untilStill(count: () => number): Promise<number> {
  let last = count()
  for (let still = 0; still < 1_000; still += 1) {
    await nextTurn()
    if (count() !== last) still = 0
    last = count()
  }
  return last
}

/** `count` chunks of 64 KiB, the same bytes each time so that the sender itself holds only one. */
export function* chunksOf(count: number): Iterable<Buffer> {
  const chunk = Buffer.alloc(64 * 1024, 'x')
  for (let i = 0; i < count; i += 1) yield chunk
}

async function writeAll(outgoing: ReturnType<typeof request>, body: Iterable<Buffer>): Promise<void> {
  // The answer can come, and the connection close, before the whole body is sent.
  try {
    await pipeline(body, outgoing)
  } catch (error) {
    outgoing.destroy(error as Error)
  }
}
