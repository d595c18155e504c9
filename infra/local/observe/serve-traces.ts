import { createHttpServer } from '#function/http-server'
import { localHosts } from '#function/request-head'
import type { TraceStore } from './store.ts'

export interface TracesServer {
  url: string
  close: () => Promise<void>
}

const CLOSE_MS_MAX = 1_000

/** Serves `GET /?id=<trace id or request id>` on a loopback port. It answers with what the store has of that trace, as JSON. */
export async function serveTraces({ find }: TraceStore): Promise<TracesServer> {
  const server = createHttpServer(
    (req, res) => {
      const traces = find(new URLSearchParams(req.url?.split('?')[1]).get('id') ?? '')
      res.writeHead(traces.length > 0 ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(traces))
    },
    { isServed: localHosts([]) },
  )
  const url = await server.listen(0, '127.0.0.1')
  return { url, close: () => server.close(CLOSE_MS_MAX) }
}
