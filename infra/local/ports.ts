import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const HOST = '127.0.0.1'

interface Address {
  host: string
  port: number
}

/** Throws an error of one line that says what to do. It runs before anything is started, so that a taken port costs nothing. */
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

// Below the ports that systems give to outgoing connections (Linux from 32768, others from 49152): one of those can be gone
// between the look and its use, or while a server restarts on it.
const [FIRST_PORT, PORTS] = [20_000, 12_768]

/** A free port of 20000 to 32767, which no other process is given by this function as long as this process lives. Throws if all are taken. */
export async function freePort(): Promise<number> {
  const start = randomInt(PORTS)
  for (let tries = 0; tries < PORTS; tries++) {
    const port = FIRST_PORT + ((start + tries) % PORTS)
    if ((await claim(port)) && (await isFree({ host: HOST, port }))) return port
  }
  throw new Error(`Every port from ${FIRST_PORT} to ${FIRST_PORT + PORTS - 1} is taken.`)
}

/** By the UDP port of the same number, which one process can have and which the system takes back when it ends. False if another has it. */
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
