import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'

/**
 * How long a connection on which nothing was sent yet stays open at a close. Node does not count it as idle, so a connection that was opened in
 * advance would keep the process alive. A connection whose request is on its way needs a moment.
 */
const UNUSED_MS_MAX = 100

/**
 * Tracks what a graceful close needs: the answers in flight, and the connections without a request so far.
 *
 * Closing a kept-alive connection races with the next request on it, and the client of a lost request can't know whether the request was executed.
 * HTTP/1.1 has one way around that: after an answer with `Connection: close`, the client sends nothing more on the connection. So for `delayMs`,
 * each connection that is used ends in this way, and only connections that were silent all the time are closed.
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
    /** Calls `onEnd` when the answer is sent, or its connection is gone. */
    watch(req: IncomingMessage, res: ServerResponse, onEnd: () => void): void {
      unused.delete(req.socket)
      inFlight.add(res)
      res.once('close', () => {
        inFlight.delete(res)
        onEnd()
        // An answer whose head was sent before the close leaves its connection open.
        if (state === 'closed') setImmediate(() => server.closeIdleConnections())
      })
      if (state !== 'open') res.setHeader('connection', 'close')
    },
    async close(deadlineMs: number, delayMs = 0): Promise<void> {
      state = 'leaving'
      for (const res of inFlight) if (!res.headersSent) res.setHeader('connection', 'close')
      if (delayMs > 0) {
        await sleep(delayMs)
        // Requests that have reached this machine by now are read first. Otherwise their connections would count as idle.
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
