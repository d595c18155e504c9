import type { IncomingMessage, ServerResponse } from 'node:http'
import { isRefusal, ServiceError } from '#errors'
import { type AccessNotes, noteAccess } from '#function/access-log'
import { endAnswer, isArriving } from '#function/end-answer'
import { problemDocument, problemHeaders, toServiceError } from '#function/problem'
import { requestIdOf } from '#function/request-id'
import { logFault, logRefusal, type Span } from '#telemetry'

/** An answer of 5xx that the router has made. */
export interface Failure {
  requestId: string
  route: string | undefined
  error: ServiceError
}
export type Log = (failure: Failure) => void

/** Logs a router's failures: the first of a kind at once, then a count. */
export const logFailures: Log = ({ requestId, route, error: { code, detail, cause } }) => {
  const about = { function: 'router', code }
  if (isRefusal(code)) logRefusal(about, detail, cause === undefined ? undefined : String(cause).split('\n', 1)[0])
  else logFault(about, detail, cause, { request_id: requestId, route: route ?? '' })
}

/** One request and its answer. */
export interface Exchange extends AccessNotes {
  req: IncomingMessage
  res: ServerResponse
  /** The path asked for, without its query. */
  path: string
  /** The client's own Request-Id if it is safe to echo, else a new one. */
  requestId: string
  /** Undefined while tracing is off, and for the router's own routes. */
  span: Span | undefined
  /** The status of the failure that cut an answer after it had begun. */
  cutBy: number | undefined
  /** Ends the exchange with a problem document. If the answer has begun, cuts the connection, so that no partial answer looks complete. */
  fail(thrown: unknown, headers?: Record<string, string>): void
}

export function openExchange(req: IncomingMessage, res: ServerResponse, log: Log): Exchange {
  const requestId = requestIdOf(String(req.headers['request-id'] ?? ''))
  const exchange: Exchange = {
    function: 'router',
    route: undefined,
    req,
    res,
    path: originForm(req.url ?? '').split('?', 1)[0] ?? '',
    requestId,
    span: undefined,
    cutBy: undefined,
    fail: (thrown, headers) => fail(exchange, toServiceError(thrown), headers ?? {}, log),
  }
  return exchange
}

/** The request target as `/path?query`. Absolute-form (`GET http://host/path`) must be understood too (RFC 9112, 3.2.2). */
export function originForm(target: string): string {
  if (target.startsWith('/')) return target
  const scheme = ['http://', 'https://'].find((start) => target.toLowerCase().startsWith(start))
  if (scheme === undefined) return target
  const slash = target.indexOf('/', scheme.length)
  return slash === -1 ? '/' : target.slice(slash)
}

/** Answers with a complete body. `headers` must have its content type. */
export function send(exchange: Exchange, status: number, headers: Record<string, string>, body: string | Buffer): void {
  const { req, res, requestId } = exchange
  const empty = status === 304
  const arriving = isArriving(req)
  res.writeHead(status, {
    ...headers,
    ...(!empty && { 'content-length': String(Buffer.byteLength(body)) }),
    'request-id': requestId,
  })
  if (!arriving) {
    res.end(empty ? undefined : body)
    return
  }
  if (!empty) res.write(body)
  endAnswer(req, res)
}

function fail(exchange: Exchange, error: ServiceError, headers: Record<string, string>, log: Log): void {
  const { res, path, requestId, route } = exchange
  if (error.status >= 500) log({ requestId, route, error })
  exchange.code = error.code
  noteAccess(res, exchange)
  if (res.headersSent) {
    exchange.cutBy = error.status
    res.destroy()
    return
  }
  const document = problemDocument(error, { instance: path, requestId })
  send(exchange, error.status, { ...problemHeaders(error), ...headers }, JSON.stringify(document))
}

/** The error for a request that HTTP forbids, or that could be read in two ways. */
export function malformedRequest(detail: string): ServiceError {
  return new ServiceError('malformed_request', detail)
}
