import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

export interface TcpProxy {
  /** The address to use instead of the server's. */
  url: string
  /** Closes every connection, and each new connection as soon as it is made. */
  cut: () => void
  /** Holds back every byte, in both directions and also on new connections. Closes nothing. */
  silence: () => void
  /** Delays each byte from now on, in both directions. */
  delay: (ms: number) => void
  /**
   * Passes no more bytes in either direction, and closes nothing. Existing connections stay frozen for good, as if the peer had vanished.
   * New connections stay frozen until `mend`.
   */
  freeze: () => void
  /** Returns how many connections were made while the proxy was frozen. */
  swallowed: () => number
  /** Accepts connections again (to the server at `target` if given), passes on the bytes that were held back, and ends the delay. */
  mend: (target?: string) => void
  close: () => Promise<void>
}

/** A network that can fail, in front of the server at `firstTarget`. `answer` may rewrite the server's bytes, chunk by chunk. */
export async function openProxy(firstTarget: string, answer = (bytes: Buffer): Buffer => bytes): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let target = new URL(firstTarget)
  let swallowed = 0
  let state: 'open' | 'cut' | 'frozen' = 'open'
  let delayMs = 0
  let passing = Promise.resolve()
  let letPass = () => {}

  /** Registers a socket. It is closed together with `partner`. */
  function keep(socket: Socket, partner?: Socket): void {
    sockets.add(socket)
    // Errors are expected: `cut` causes them.
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      partner?.destroy()
    })
  }

  /** One direction of a connection. */
  const createLine = (rewrite = (bytes: Buffer): Buffer => bytes) =>
    new Transform({
      transform(chunk, _, done) {
        void passing.then(() => (delayMs > 0 ? sleep(delayMs) : undefined)).then(() => done(null, rewrite(chunk)))
      },
    })

  const server = createServer((client) => {
    if (state === 'cut') {
      client.resetAndDestroy()
      return
    }
    if (state === 'frozen') {
      swallowed++
      keep(client.pause())
      return
    }
    const upstream = connect(Number(target.port), target.hostname)
    keep(client, upstream)
    keep(upstream, client)
    client.pipe(createLine()).pipe(upstream)
    upstream.pipe(createLine(answer)).pipe(client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(firstTarget)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    cut: () => {
      state = 'cut'
      for (const socket of sockets) socket.destroy()
    },
    silence: () => {
      passing = new Promise((resolve) => {
        letPass = resolve
      })
    },
    delay: (ms) => {
      delayMs = ms
    },
    freeze: () => {
      state = 'frozen'
      for (const socket of sockets) socket.unpipe().pause()
    },
    swallowed: () => swallowed,
    mend: (otherTarget) => {
      state = 'open'
      delayMs = 0
      letPass()
      if (otherTarget) target = new URL(otherTarget)
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
