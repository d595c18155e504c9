import type { IncomingMessage, ServerResponse } from 'node:http'

/** How long, and how much, an answered request may go on sending. A client notices the answer in that time, and no body is half as large. */
const DISCARD_MS_MAX = 1_000
const DISCARD_BYTES_MAX = 64 * 1024 * 1024

/** Whether a body follows the head. */
export function hasBody(req: IncomingMessage): boolean {
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0
}

/**
 * Ends an answer whose bytes are all written. If the request still arrives, the rest of it is first read and dropped: closing a socket with unread
 * bytes resets the connection, and the reset can overtake the answer, so the client would see a broken pipe instead of its 413. The client has the
 * whole answer by then, and is cut off if it does not stop.
 */
export function endAnswer(req: IncomingMessage, res: ServerResponse): void {
  if (!isArriving(req)) {
    res.end()
    return
  }
  const { socket } = req
  let bytes = 0
  const giveUp = () => res.end(() => socket.destroy())
  const timer = setTimeout(giveUp, DISCARD_MS_MAX)
  const stop = () => {
    clearTimeout(timer)
    res.end()
  }
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > DISCARD_BYTES_MAX) giveUp()
  })
  req.once('end', stop).once('close', stop)
  res.flushHeaders()
  req.resume()
}

/** Whether more of the request will come. For a request without a body, `complete` alone is false for one turn after the head. */
export function isArriving(req: IncomingMessage): boolean {
  return hasBody(req) && !req.complete && !req.destroyed
}
