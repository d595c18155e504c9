import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

interface Body {
  /** So many came, or are to come with the chunk that is on its way. */
  bytes: number
  tell: ((bytes: number) => void) | undefined
}

const followed = new WeakMap<object, Body>()
const LF = 0x0a

/**
 * Reads the sizes of a chunked body's chunks besides Node's parser, which tells only of what has come. To be called as the head of the
 * first request of a connection has been parsed: of a later one it can't be told whether the piece in the parser's hands begins with its
 * head, or with the end of the message before. One whose head came in several pieces is not followed either.
 */
export function followChunks(req: IncomingMessage): void {
  const { socket, rawHeaders } = req
  const { parser } = socket as Socket & { parser?: { getCurrentBuffer?: () => Buffer | undefined } }
  const piece = parser?.getCurrentBuffer?.()
  const end = piece?.indexOf('\r\n\r\n') ?? -1
  if (!piece || end === -1) return
  const lines = piece.toString('latin1', 0, end).split('\n')
  if (lines[0] !== `${req.method} ${req.url} HTTP/1.1\r` || lines.length !== 1 + rawHeaders.length / 2) return
  const body: Body = { bytes: 0, tell: undefined }
  followed.set(req, body)
  const isOver = readSizes((size) => {
    body.bytes += size
    body.tell?.(body.bytes)
  })
  if (isOver(piece.subarray(end + 4))) return
  const follow = (more: Buffer) => {
    if (isOver(more)) socket.off('data', follow)
  }
  socket.on('data', follow)
}

/** Calls `tell`, once, when more than `bytesMax` are announced: at once where they are. Gives what ends the watch. */
export function watchAnnounced(source: object, bytesMax: number, tell: () => void): () => void {
  const body = followed.get(source)
  if (!body) return () => {}
  body.tell = (bytes) => {
    if (bytes <= bytesMax) return
    body.tell = undefined
    tell()
  }
  body.tell(body.bytes)
  return () => {
    body.tell = undefined
  }
}

/** Tells of the size of each chunk as soon as its line is there. Gives what is to be called with each piece, true once the last is told. */
function readSizes(tell: (size: number) => void): (piece: Buffer) => boolean {
  let size = 0
  let isSize = true
  let skip = 0
  return (piece) => {
    for (let at = 0; at < piece.length; ) {
      const skipped = Math.min(skip, piece.length - at)
      skip -= skipped
      at += skipped
      const byte = piece[at++]
      if (byte === undefined) return false
      if (byte !== LF) {
        const digit = isSize ? Number.parseInt(String.fromCharCode(byte), 16) : Number.NaN
        // Behind the digits there may be extensions.
        if (Number.isNaN(digit)) isSize = false
        else size = size * 16 + digit
        continue
      }
      // Trailers follow, and another message.
      if (size === 0) return true
      tell(size)
      skip = size + 2
      size = 0
      isSize = true
    }
    return false
  }
}
