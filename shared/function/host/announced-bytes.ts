import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

interface ChunkedBody {
  /** Bytes that have arrived, and the announced bytes of the chunk that is arriving. */
  bytes: number
  onAnnounced: ((bytes: number) => void) | undefined
}

const followed = new WeakMap<object, ChunkedBody>()
const LF = 0x0a

/**
 * Reads the sizes of a chunked body's chunks in addition to Node's parser, which reports only the bytes that have arrived. Call it when the head of
 * a connection's first request has been parsed. For a later request it is not known whether the parser's current piece begins with the request's
 * head or with the end of the message before. A request whose head came in several pieces is not followed either.
 */
export function followChunks(req: IncomingMessage): void {
  const { socket, rawHeaders } = req
  const { parser } = socket as Socket & { parser?: { getCurrentBuffer?: () => Buffer | undefined } }
  const piece = parser?.getCurrentBuffer?.()
  const end = piece?.indexOf('\r\n\r\n') ?? -1
  if (!piece || end === -1) return
  const lines = piece.toString('latin1', 0, end).split('\n')
  if (lines[0] !== `${req.method} ${req.url} HTTP/1.1\r` || lines.length !== 1 + rawHeaders.length / 2) return
  const body: ChunkedBody = { bytes: 0, onAnnounced: undefined }
  followed.set(req, body)
  const isOver = readSizes((size) => {
    body.bytes += size
    body.onAnnounced?.(body.bytes)
  })
  if (isOver(piece.subarray(end + 4))) return
  const follow = (more: Buffer) => {
    if (isOver(more)) socket.off('data', follow)
  }
  socket.on('data', follow)
}

/** Calls `onExceeded` once, when more than `bytesMax` are announced. Returns a function that ends the watch. */
export function watchAnnounced(source: object, bytesMax: number, onExceeded: () => void): () => void {
  const body = followed.get(source)
  if (!body) return () => {}
  body.onAnnounced = (bytes) => {
    if (bytes <= bytesMax) return
    body.onAnnounced = undefined
    onExceeded()
  }
  body.onAnnounced(body.bytes)
  return () => {
    body.onAnnounced = undefined
  }
}

/**
 * Calls `onSize` as soon as the line with a chunk's size is complete. Returns the function to call with each piece, which returns true after the
 * last chunk.
 */
function readSizes(onSize: (size: number) => void): (piece: Buffer) => boolean {
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
        // Extensions may follow the digits.
        if (Number.isNaN(digit)) isSize = false
        else size = size * 16 + digit
        continue
      }
      // This is the last chunk: trailers and the next message follow.
      if (size === 0) return true
      onSize(size)
      skip = size + 2
      size = 0
      isSize = true
    }
    return false
  }
}
