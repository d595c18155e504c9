import type { HttpBindings } from '@hono/node-server'
import { failSpan, type Span, type Tracing } from '#telemetry'
import type { Endpoint } from './pipeline.ts'
import { headersOf } from './request-headers.ts'
import { pathOf } from './validate.ts'

type Named = Pick<Endpoint, 'name' | 'method' | 'path'>

/**
 * Answers a request in a span of its own: a child of the router's span if that is in the same process, else of the client's. It ends with the
 * answer's head, as https://opentelemetry.io/docs/specs/semconv/http/http-spans/ asks.
 */
export function inServerSpan(
  on: Tracing,
  endpoint: Named,
  request: Request,
  http: Partial<HttpBindings> | undefined,
  answer: () => Promise<Response>,
): Promise<Response> {
  const headers = headersOf(request, http?.incoming)
  const traceparent = headers.get('traceparent')
  const remote = traceparent === null ? null : { traceparent, tracestate: headers.get('tracestate') ?? undefined }
  const name = `${endpoint.method} ${endpoint.path}`
  const span = on.start(name, { kind: 'server', ...(!on.currentSpan() && { parent: remote }) })
  return on.run(span, () => (span.isRecording() ? record(span, endpoint, request, answer) : answer()))
}

async function record(
  span: Span,
  { name, path }: Named,
  request: Request,
  answer: () => Promise<Response>,
): Promise<Response> {
  span.setAttributes({
    'http.request.method': request.method,
    'http.route': path,
    'url.path': pathOf(request.url),
    'url.scheme': request.url.slice(0, request.url.indexOf(':')),
    'faas.name': name,
  })
  const response = await answer()
  span.setAttribute('http.response.status_code', response.status)
  // A client's error is not an error of the server.
  if (response.status >= 500) failSpan(span, { code: String(response.status), message: '' })
  span.end()
  return response
}
