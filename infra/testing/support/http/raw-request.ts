import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface RawRequest {
  socket: Socket
  /** Resolves with all text received so far once it matches `pattern`. Rejects if the connection ends before that. */
  answer: (pattern?: RegExp) => Promise<string>
}

/** Sends the head of a POST, byte for byte as given, and the given part of the body. The caller destroys the socket. */
export function sendRaw(
  url: string,
  headers: Record<string, string | number>,
  { body = '', version = '1.1' } = {},
): RawRequest {
  const { port, pathname } = new URL(url)
  const lines = Object.entries({ host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  const socket = connect(Number(port), '127.0.0.1').setEncoding('latin1')
  // The server may close the connection before everything is sent.
  socket.on('error', () => {})
  let text = ''
  socket.on('data', (part: string) => {
    text += part
  })
  socket.write(`POST ${pathname} HTTP/${version}\r\n${lines.join('')}\r\n${body}`)
  const answer = async (pattern = /\r\n\r\n.+/s) => {
    while (!pattern.test(text)) {
      await Promise.race([
        once(socket, 'data'),
        once(socket, 'close').then(() => Promise.reject(new Error(`closed after ${JSON.stringify(text)}`))),
      ])
    }
    return text
  }
  return { socket, answer }
}
