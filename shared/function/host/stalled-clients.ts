import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** A client that reads nothing of its answer for this long is as good as gone, and the answer takes up memory here. */
export const CLIENT_STALL_MS_MAX = 60_000

/**
 * Cuts clients that read nothing of their answers for `stallMsMax`, or up to a quarter more. A client that reads slowly is never cut. Node's socket
 * time-out fires if there was no activity since the last check, so it is set to half of the time. It is set only for sockets with unread bytes,
 * since it costs 3 % of a request's time.
 */
export function cutStalledClients(
  server: Server,
  inFlight: Iterable<ServerResponse>,
  answerOn: (socket: Duplex) => ServerResponse | undefined,
  stallMsMax = CLIENT_STALL_MS_MAX,
): void {
  const timer = setInterval(() => {
    // The time-out stays set until the answer is read.
    for (const { socket } of inFlight) if (isWaiting(socket) && !socket.timeout) socket.setTimeout(stallMsMax / 2)
  }, stallMsMax / 4).unref()
  server.once('close', () => clearInterval(timer))
  server.on('timeout', (socket: Socket) => {
    const answer = answerOn(socket)
    const isIdle = answer === undefined || answer.writableFinished
    // If there is nothing to read yet, the request is still arriving or is being worked on: both have their own limits.
    if (isIdle || isWaiting(socket)) socket.destroy()
  })
}

function isWaiting(socket: Socket | null): socket is Socket {
  return socket !== null && socket.writableLength > 0
}
