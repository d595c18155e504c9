import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const HOST = '127.0.0.1'

interface Address {
  host: string
  port: number
}

/** Throws a one-line error that says what to do if the port is taken. Runs before anything is started, so that a taken port costs nothing. */
export function checkThatPortIsFree({ host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => reject(new Error(reasonFor(error, host, port))))
    probe.listen(port, host, () => probe.close(() => resolve()))
  })
}

function reasonFor(error: NodeJS.ErrnoException, host: string, port: number): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} on ${host} is taken: stop what uses it, or set PORT to another one.`
    case 'EACCES':
      return `Port ${port} is not open to this user: set PORT to 1024 or above.`
    default:
      return `Can't listen on ${host}:${port}: ${error.message}. Is HOST an address of this machine?`
  }
}

// Below the ports that systems use for outgoing connections (Linux from 32768, others from 49152): one of those can be taken
// between the check and its use, or while a server restarts on it.
const [FIRST_PORT, PORTS] = [20_000, 12_768]

/** Returns a free port from 20000 to 32767. As long as this process lives, this function gives no other process that port. Throws if all are taken. */
export async function freePort(): Promise<number> {
  const start = randomInt(PORTS)
  for (let tries = 0; tries < PORTS; tries++) {
    const port = FIRST_PORT + ((start + tries) % PORTS)
    if ((await claim(port)) && (await isFree({ host: HOST, port }))) return port
  }
  throw new Error(`Every port from ${FIRST_PORT} to ${FIRST_PORT + PORTS - 1} is taken.`)
}

/** Claims a port by the UDP port of the same number. Only one process can have that, and the system frees it when the process ends. False if taken. */
function claim(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4').unref()
    socket.once('error', () => {
      socket.close()
      resolve(false)
    })
    socket.bind({ address: HOST, port, exclusive: true }, () => resolve(true))
  })
}

const isFree = (address: Address) =>
  checkThatPortIsFree(address).then(
    () => true,
    () => false,
  )
