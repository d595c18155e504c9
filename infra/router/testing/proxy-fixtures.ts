import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createNetServer, type Socket } from 'node:net'
import type { Resolve } from '../upstreams/origin.ts'
import { serve, serveRouter } from './fixtures.ts'

type Handler = (req: IncomingMessage, res: ServerResponse) => void

/** A router with one path, to these upstreams. */
export async function routerTo(
  upstreams: URL[],
  limits: { timeoutMs?: number; maxBodyBytes?: number; isRead?: boolean } = {},
  resolve?: Resolve,
) {
  const shared = {
    name: 'thing',
    path: '/thing',
    timeoutMs: 30_000,
    maxBodyBytes: 1024,
    target: { upstreams },
    ...limits,
  }
  const logged: object[] = []
  const { url } = await serveRouter({
    routes: [
      { ...shared, method: 'GET' },
      { ...shared, method: 'POST' },
      { ...shared, method: 'DELETE' },
    ],
    log: (entry) => logged.push(entry),
    ...(resolve && { resolve }),
  })
  return { url, logged }
}

/** An upstream that records the requests that it received. */
export async function upstreamWith(handler: Handler) {
  const seen: IncomingMessage[] = []
  const origin = await serve(
    createServer((req, res) => {
      seen.push(req)
      handler(req, res)
    }),
  )
  return { origin, seen }
}

/** An upstream that answers each piece of data on a connection with raw bytes, or hangs up. */
export async function rawUpstream(onData: (socket: Socket, nth: number) => void) {
  let count = 0
  const origin = await serve(
    createNetServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => {
        count += 1
        onData(socket, count)
      })
    }),
  )
  return { origin, count: () => count }
}
