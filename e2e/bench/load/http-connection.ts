import { once } from 'node:events'
import { createConnection } from 'node:net'

export interface ParsedResponse {
  status: number
  /** The first member `id` of the body of a 201 answer. */
  id: string | undefined
}

export interface HttpConnection {
  /** Sends a whole request and resolves with its response. Only one request at a time. Rejects when the connection ends. */
  send: (request: string) => Promise<ParsedResponse>
  close: () => void
}

const HEAD_END = '\r\n\r\n'

/** Opens a keep-alive HTTP/1.1 connection to 127.0.0.1, for servers whose answers have a content-length, or are chunked and small. */
export async function connect(port: number): Promise<HttpConnection> {
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  let received = ''
  let waiting: { resolve: (response: ParsedResponse) => void; reject: (error: Error) => void } | undefined
  socket.on('data', (chunk: Buffer) => {
    received = received + chunk.toString('latin1')
    if (!isComplete(received)) return
    const text = received
    received = ''
    const { resolve } = waiting ?? {}
    waiting = undefined
    resolve?.(parse(text))
  })
  const fail = (error?: Error) => {
    waiting?.reject(error ?? new Error('the server closed a connection in the middle of a request'))
    waiting = undefined
  }
  socket.on('error', fail).on('close', () => fail())
  return {
    send: (request) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        socket.write(request, 'latin1')
      }),
    close: () => socket.destroy(),
  }
}

function isComplete(text: string): boolean {
  const end = text.indexOf(HEAD_END)
  if (end < 0) return false
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))?.[1]
  if (length !== undefined) return text.length >= end + HEAD_END.length + Number(length)
  return text.endsWith('\r\n0\r\n\r\n')
}

function parse(text: string): ParsedResponse {
  const status = Number(text.slice(9, 12))
  return { status, id: status === 201 ? /"id":"([^"]+)"/.exec(text)?.[1] : undefined }
}
