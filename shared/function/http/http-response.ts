import type { HttpBindings } from '@hono/node-server'
import type { Identity, RateLimitResult } from '#access'
import { originOf, rateLimitHeaders } from '#access'
import type { ResponseState } from '#database'
import { isRefusal, type ServiceError } from '#errors'
import { countSecurityEvent, logFault, logger, logRefusal, type TraceContext, traceIdOf } from '#telemetry'
import type { HandlerResult } from '../definition.ts'
import type { AccessNotes } from '../host/access-log.ts'
import { countProblem, problemDocument, problemHeaders } from '../problem.ts'
import type { RequestHeaders } from './request-headers.ts'
import { countUnsent } from './unsent.ts'
import { pathOf } from './validate.ts'

/** A request on its way through the pipeline, with everything that its answer, or a problem document, is made from. */
export interface Exchange extends AccessNotes {
  requestId: string
  trace: TraceContext
  headers: RequestHeaders
  /** Undefined until the request is authenticated. */
  identity: Identity | undefined
  /** Undefined until the request is counted, and if there is no limit. */
  rateLimit: RateLimitResult | undefined
  response: ResponseState
  /** Set if the request came over HTTP: node-server passes it as Hono's environment. */
  http: Partial<HttpBindings> | undefined
  isGone: () => boolean
}

/** A handler's answer, with the headers that every answer has. Throws `overloaded` if clients leave too much of their answers unread. */
export function toResponse(
  { status, body, headers }: HandlerResult,
  { requestId, response, rateLimit, http }: Exchange,
): Response {
  // A plain object with lower-case names, since node-server would take a Headers apart again.
  const all: Record<string, string> = { 'request-id': requestId, ...rateLimitHeaders(rateLimit), ...headers }
  if (response.consistencyToken) all['consistency-token'] = response.consistencyToken
  if (response.replayedFrom) all['idempotent-replayed'] = 'true'
  if (body === undefined) return new Response(null, { status, headers: all })
  all['content-type'] ??= 'application/json'
  // A stream produces the answer while its client reads it.
  if (body instanceof ReadableStream) return new Response(body, { status, headers: all })
  const text = typeof body === 'string' ? body : textOf(body)
  if (http) countUnsent(text.length, http)
  return new Response(text, { status, headers: all })
}

/** The name of a request's API key in the ledger and the log. */
export function actorOf({ apiKeyId }: Identity): string {
  return `api-key:${apiKeyId}`
}

/** The JSON of frozen values, such as those in the cache, which are sent again and again. */
const texts = new WeakMap<object, string>()

function textOf(body: unknown): string {
  if (typeof body !== 'object' || body === null || !Object.isFrozen(body)) return JSON.stringify(body)
  const known = texts.get(body)
  if (known !== undefined) return known
  const text = JSON.stringify(body)
  texts.set(body, text)
  return text
}

/** A problem document, with the headers that go with it. */
export function problem(
  request: Request,
  error: ServiceError,
  requestId: string,
  headers: Record<string, string> = {},
  firstRequestId = requestId,
): Response {
  const document = problemDocument(error, { instance: pathOf(request.url), requestId: firstRequestId })
  return new Response(JSON.stringify(document), {
    status: error.status,
    headers: { 'request-id': requestId, ...problemHeaders(error), ...headers },
  })
}

/**
 * Logs 5xx as errors (repeated ones once for many), refusals as warnings, and the rest as debug. Counts the failure, and counts it as a security
 * event if it is one.
 */
export function logFailure(name: string, error: ServiceError, thrown: unknown, exchange: Exchange): void {
  const { requestId, trace, identity, http } = exchange
  countProblem(name, error)
  if (error.code === 'unauthenticated') countSecurityEvent('unauthenticated', { origin: originOf(http?.incoming) })
  if (error.code === 'forbidden')
    countSecurityEvent('forbidden', { actor: identity && actorOf(identity), function: name })
  if (isRefusal(error.code)) {
    logRefusal({ function: name, code: error.code }, error.detail, reasonOf(error))
    return
  }
  const about = { function: name, code: error.code }
  const ids = { request_id: requestId, trace_id: traceIdOf(trace) }
  if (error.status >= 500)
    logFault(about, error.detail, error.code === 'internal' ? thrown : (error.cause ?? error), ids)
  else if (logger().isLevelEnabled('debug')) logger().debug({ ...about, ...ids }, error.detail)
}

function reasonOf({ cause }: ServiceError): string | undefined {
  return cause === undefined ? undefined : String(cause)
}
