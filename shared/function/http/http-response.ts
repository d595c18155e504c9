import type { HttpBindings } from '@hono/node-server'
import type { Identity, RateLimitResult } from '#access'
import { originOf, rateLimitHeaders } from '#access'
import type { ResponseState } from '#database'
import { isRefusal, type ServiceError } from '#errors'
import { countSecurityEvent, logger, logRefusal, type TraceContext, traceIdOf } from '#telemetry'
import type { Answer } from '../definition.ts'
import { problemDocument, problemHeaders } from '../problem.ts'
import type { RequestHeaders } from './request-headers.ts'
import { countUnsent } from './unsent.ts'
import { pathOf } from './validate.ts'

/** What is being answered: gathered on the way, so that a problem can be told with it. */
export interface Exchange {
  requestId: string
  trace: TraceContext
  headers: RequestHeaders
  /** Undefined until the request is authenticated. */
  identity: Identity | undefined
  /** Undefined until the request is counted, and if there is no limit. */
  rateLimit: RateLimitResult | undefined
  response: ResponseState
  /** Where the request came over HTTP: node-server hands it on as Hono's environment. */
  http: Partial<HttpBindings> | undefined
  isGone: () => boolean
}

/** A handler's answer, with the headers that every answer has. Throws `overloaded` where clients take too little of what they ask for. */
export function toResponse(
  { status, body, headers }: Answer,
  { requestId, response, rateLimit, http }: Exchange,
): Response {
  // A plain object with lower-case names: a Headers would be taken apart again on its way out.
  const all: Record<string, string> = { 'request-id': requestId, ...rateLimitHeaders(rateLimit), ...headers }
  if (response.consistencyToken) all['consistency-token'] = response.consistencyToken
  if (response.replayedFrom) all['idempotent-replayed'] = 'true'
  if (body === undefined) return new Response(null, { status, headers: all })
  all['content-type'] ??= 'application/json'
  // Made as its client takes it.
  if (body instanceof ReadableStream) return new Response(body, { status, headers: all })
  const text = typeof body === 'string' ? body : textOf(body)
  if (http) countUnsent(text.length, http)
  return new Response(text, { status, headers: all })
}

/** How the ledger and the log name the API key of a request. */
export function actorOf({ apiKeyId }: Identity): string {
  return `api-key:${apiKeyId}`
}

/** The JSON of what can't change any more, such as a value out of the cache: it is sent again and again. */
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

/** Tells the log of a failure: loudly where it is the service's own, and of one that its security is about. */
export function logFailure(name: string, error: ServiceError, thrown: unknown, exchange: Exchange): void {
  const { requestId, trace, identity, http } = exchange
  if (error.code === 'unauthenticated') countSecurityEvent('unauthenticated', { origin: originOf(http?.incoming) })
  if (error.code === 'forbidden')
    countSecurityEvent('forbidden', { actor: identity && actorOf(identity), function: name })
  if (isRefusal(error.code)) {
    logRefusal({ function: name, code: error.code }, error.detail, reasonOf(error))
    return
  }
  const level = error.status >= 500 ? 'error' : 'debug'
  if (!logger().isLevelEnabled(level)) return
  const entry = { function: name, code: error.code, request_id: requestId, trace_id: traceIdOf(trace) }
  const err = error.code === 'internal' ? thrown : (error.cause ?? error)
  logger()[level]({ ...entry, ...(level === 'error' && { err }) }, error.detail)
}

function reasonOf({ cause }: ServiceError): string | undefined {
  return cause === undefined ? undefined : String(cause)
}
