import { answerScrape } from '#telemetry'
import { createHttpServer, type ServerOptions } from './http-server.ts'

export interface MetricsServer {
  /** The URL of the metrics. */
  url: string
  close: () => Promise<void>
}

/** A scrape is over within milliseconds. */
const CLOSE_MS_MAX = 1_000

/** Serves this process's metrics at `/metrics` on a port of their own, so that the public port has no such path. Rejects if the port is taken. */
export async function serveMetrics(port: number, host: string, options?: ServerOptions): Promise<MetricsServer> {
  const server = createHttpServer((req, res) => {
    if (req.method === 'GET' && req.url === '/metrics') void answerScrape(req, res)
    else res.writeHead(404).end()
  }, options)
  const url = await server.listen(port, host)
  return { url: `${url}/metrics`, close: () => server.close(CLOSE_MS_MAX) }
}
