import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** A client that takes nothing of its answer for so long is gone in all but name, and what it does not take is held for it here. */
export const CLIENT_STALL_MS_MAX = 60_000

/**
 * Cuts clients that take nothing of their answers for `stallMsMax`, or a quarter more, and one that takes but little never. Node looks
 * for a sign of life at intervals, and tells of a connection without one since the look before: so the second look, at the latest, finds
 * a stall of two. Only connections with something to take are looked at: to have Node look at all takes 3 % of the time of a request.
 */
export function cutStalledClients(
  server: Server,
  inFlight: Iterable<ServerResponse>,
  answerOn: (socket: Duplex) => ServerResponse | undefined,
  stallMsMax = CLIENT_STALL_MS_MAX,
): void {
  const timer = setInterval(() => {
    // What has been told once lasts until the answer is taken.
    for (const { socket } of inFlight) if (isWaiting(socket) && !socket.timeout) socket.setTimeout(stallMsMax / 2)
  }, stallMsMax / 4).unref()
  server.once('close', () => clearInterval(timer))
  server.on('timeout', (socket: Socket) => {
    const answer = answerOn(socket)
    const isIdle = answer === undefined || answer.writableFinished
    // Where nothing is to be taken yet, the request still arrives or is worked on: both have limits of their own.
    if (isIdle || isWaiting(socket)) socket.destroy()
  })
}

function isWaiting(socket: Socket | null): socket is Socket {
  return socket !== null && socket.writableLength > 0
}
