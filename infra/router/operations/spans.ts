import { failSpan, type Span, type Tracing, tracing } from '#telemetry'
import type { Exchange } from '../exchange.ts'
import type { RouteEntry } from '../route.ts'
import type { Upstream } from '../upstreams/origin.ts'

/** Answers an exchange in a span. The span is a child of the client's span and ends with the answer. */
export function inRouterSpan(
  on: Tracing,
  exchange: Exchange,
  { name, method, path }: RouteEntry,
  work: () => void,
): void {
  const { req, res } = exchange
  const { traceparent, tracestate } = req.headers
  const span = on.start(`${method} ${path}`, {
    kind: 'server',
    parent: traceparent === undefined ? null : { traceparent: String(traceparent), tracestate: tracestate?.toString() },
    attributes: {
      'http.request.method': req.method ?? '',
      'http.route': path,
      'url.path': exchange.path,
      'url.scheme': 'http',
      'faas.name': name,
    },
  })
  exchange.span = span
  if (span.isRecording())
    res.once('close', () => {
      span.setAttribute('http.response.status_code', res.statusCode)
      if (res.statusCode >= 500) failSpan(span, { code: String(res.statusCode), message: '' })
      else if (!res.writableFinished) failSpan(span, { name: 'client_disconnected', message: '' })
      span.end()
    })
  on.run(span, work)
}

/** Starts the span of one try at an upstream. Returns undefined if the exchange's own span is not recorded. */
export function startTry({ span: parent, req, path }: Exchange, { host }: Upstream, tries: number): Span | undefined {
  if (!parent?.isRecording()) return undefined
  const { hostname, port } = new URL(`http://${host}`)
  return tracing()?.start(req.method ?? 'GET', {
    kind: 'client',
    parent,
    attributes: {
      'http.request.method': req.method ?? '',
      'server.address': hostname,
      'server.port': Number(port || 80),
      // Without the query, as everywhere else.
      'url.full': `http://${host}${path}`,
      ...(tries > 1 && { 'http.request.resend_count': tries - 1 }),
    },
  })
}
