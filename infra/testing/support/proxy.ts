import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

export interface TcpProxy {
  /** The address to use in place of the server's. */
  url: string
  /** Cuts what is connected, and every connection as soon as it is made. */
  cut: () => void
  /** Holds back every byte, in both directions and on connections that are made meanwhile too, without closing anything. */
  silence: () => void
  /** How long each byte takes from now on, in both directions. */
  delay: (ms: number) => void
  /**
   * Stops passing bytes on, in both directions, without closing anything: for what is connected for good, as a peer that has
   * vanished and forgotten it, and for what connects until this is mended.
   */
  freeze: () => void
  /** How many connections were made while it was frozen. */
  swallowed: () => number
  /**
   * Lets connections be made again, from now on to the server at `target` if one is given, passes on what was held back, and is as
   * quick as before.
   */
  mend: (target?: string) => void
  close: () => Promise<void>
}

/** A network that can fail, in front of the server at `firstTarget`. What the server says goes through `answer`, some bytes at a time. */
export async function openProxy(firstTarget: string, answer = (bytes: Buffer): Buffer => bytes): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let target = new URL(firstTarget)
  let swallowed = 0
  let state: 'open' | 'cut' | 'frozen' = 'open'
  let delayMs = 0
  let passing = Promise.resolve()
  let letPass = () => {}

  /** Closed together with `partner`. */
  function keep(socket: Socket, partner?: Socket): void {
    sockets.add(socket)
    // A cut connection is what this is for.
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
