import type { IncomingMessage, ServerResponse } from 'node:http'
import { isRefusal, ServiceError } from '#errors'
import { endAnswer, isArriving } from '#function/end-answer'
import { problemDocument, problemHeaders, toServiceError } from '#function/problem'
import { requestIdOf } from '#function/request-id'
import { logger, logRefusal } from '#telemetry'

export interface Failure {
  msg: string
  requestId: string
  method: string | undefined
  path: string
  status: number
  code: string
  detail: string
  cause: string | undefined
}
export type Log = (entry: Failure) => void

/** Logs a router's answers of 5xx: refusals once for many, all others each time. */
export const logFailures: Log = (entry) => {
  const { code, detail, cause } = entry
  if (isRefusal(code)) logRefusal({ function: 'router', code }, detail, cause?.split('\n', 1)[0])
  else logger().error(entry)
}

/** One request and its answer. */
export interface Exchange {
  req: IncomingMessage
  res: ServerResponse
  /** The path asked for, without its query. */
  path: string
  /** The client's own Request-Id if it is safe to echo, else a new one. */
  requestId: string
  /** The status of the failure that cut an answer under way. */
  cutBy: number | undefined
  /** Ends the exchange with a problem document. If an answer is under way it cuts the connection, so that a part can't pass for the whole. */
  fail(thrown: unknown, headers?: Record<string, string>): void
}

export function openExchange(req: IncomingMessage, res: ServerResponse, log: Log): Exchange {
  const requestId = requestIdOf(String(req.headers['request-id'] ?? ''))
  const exchange: Exchange = {
    req,
    res,
    path: originForm(req.url ?? '').split('?', 1)[0] ?? '',
    requestId,
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
  const { req, res, path, requestId } = exchange
  if (error.status >= 500) {
    const { status, code, detail, cause } = error
    log({
      msg: 'answered with an error',
      requestId,
      method: req.method,
      path,
      status,
      code,
      detail,
      cause: reason(cause),
    })
  }
  if (res.headersSent) {
    exchange.cutBy = error.status
    res.destroy()
    return
  }
  const document = problemDocument(error, { instance: path, requestId })
  send(exchange, error.status, { ...problemHeaders(error), ...headers }, JSON.stringify(document))
}

function reason(cause: unknown): string | undefined {
  if (cause === undefined) return undefined
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
}

/** The error of a request that HTTP forbids, or that could be read in two ways. */
export function malformedRequest(detail: string): ServiceError {
  return new ServiceError('malformed_request', detail)
}
