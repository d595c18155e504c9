import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'

/**
 * Node counts only those connections as idle that have served a request; one opened ahead of need would hold the process. One opened
 * for a request that is on its way must have the time to bring it.
 */
const UNUSED_MS_MAX = 100

/**
 * Keeps what a graceful close must know: the answers in flight, and the connections on which nothing was asked yet.
 *
 * Closing a kept connection races with the next request on it, which is lost then without its client knowing whether it was heard.
 * HTTP/1.1 has one way around that: to say `Connection: close` with an answer, after which the client sends nothing more there. So
 * for a while every connection that is used ends in that way, and only those are closed that were silent for all of it.
 */
export function prepareClose(server: Server) {
  const inFlight = new Set<ServerResponse>()
  const unused = new Set<Socket>()
  let state: 'open' | 'leaving' | 'closed' = 'open'
  server.on('connection', (socket: Socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  return {
    inFlight,
    watch(req: IncomingMessage, res: ServerResponse): void {
      unused.delete(req.socket)
      inFlight.add(res)
      res.once('close', () => {
        inFlight.delete(res)
        // An answer whose head went out before the close began left its connection open.
        if (state === 'closed') setImmediate(() => server.closeIdleConnections())
      })
      if (state !== 'open') res.setHeader('connection', 'close')
    },
    async close(deadlineMs: number, delayMs = 0): Promise<void> {
      state = 'leaving'
      for (const res of inFlight) if (!res.headersSent) res.setHeader('connection', 'close')
      if (delayMs > 0) {
        await sleep(delayMs)
        // What has reached this machine by now is read first: else it would be closed over as if nothing had been asked.
        await nextTurn()
      }
      state = 'closed'
      await closeNow(server, unused, deadlineMs)
    },
  }
}

function closeNow(server: Server, unused: ReadonlySet<Socket>, deadlineMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cutUnused = () => {
      for (const socket of unused) if (socket.bytesRead === 0) socket.destroy()
    }
    const timers = [setTimeout(cutUnused, UNUSED_MS_MAX), setTimeout(() => server.closeAllConnections(), deadlineMs)]
    server.close(() => {
      for (const timer of timers) clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
  })
}
