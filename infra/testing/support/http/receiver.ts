import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Receiver {
  url: string
  port: number
  /** The requests so far, in order. */
  received: Array<{ method: string | undefined; headers: IncomingHttpHeaders; body: string }>
  close: () => Promise<void>
}

/** A receiver of webhooks. `answer` returns the status, 204 by default, or answers itself and returns undefined. */
export async function openReceiver(
  answer: (response: ServerResponse) => number | undefined = () => 204,
): Promise<Receiver> {
  const received: Receiver['received'] = []
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray()
    const { method, headers } = request
    received.push({ method, headers, body: Buffer.concat(chunks).toString() })
    const status = answer(response)
    if (status !== undefined) response.writeHead(status).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/hook`,
    port,
    received,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
