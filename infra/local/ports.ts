import { createServer } from 'node:net'

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

/** A port that was free a moment ago. Another process may take it before it is used. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = typeof address === 'object' && address ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}
