import type { HttpBindings } from '@hono/node-server'
import type * as z from 'zod'
import { keysOwnReservations, rateLimitHeaders } from '#access'
import {
  parseToken,
  type RequestContext,
  refusedInput,
  requireScope,
  responseState,
  type Scope,
  toPublicError,
} from '#database'
import type { Resource } from '#errors'
import { validate } from '#input'
import { receivedTrace, tracing } from '#telemetry'
import type { HandlerResult, HttpRequest, Limits, Method } from '../definition.ts'
import { noteAccess } from '../host/access-log.ts'
import { toServiceError } from '../problem.ts'
import { requestIdOf } from '../request-id.ts'
import type { Admission } from './admission.ts'
import { admit } from './admit.ts'
import { type Received, readJson, readUpload } from './body.ts'
import { actorOf, type Exchange, logFailure, problem, toResponse } from './http-response.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'
import { headersOf } from './request-headers.ts'
import { Upload } from './upload.ts'
import { pathOf, queryOf, validateParams } from './validate.ts'

/** The parts of a function that the pipeline needs. */
export interface Endpoint {
  name: string
  method: Method
  path: string
  isRead: boolean
  scope: Scope
  params: ReadonlyArray<readonly [name: string, resource: Resource]>
  limits: Limits
  request: { query?: z.ZodType; body?: z.ZodType; contentTypes: readonly string[] }
  handler: (request: HttpRequest<string, unknown, unknown>) => Promise<HandlerResult>
}

/** Answers one request: every step from its head to its response. Counts the request. Never throws. */
export async function respond(
  endpoint: Endpoint,
  request: Request,
  params: Record<string, string>,
  admission: Admission,
  http: Partial<HttpBindings> | undefined,
): Promise<Response> {
  const startedAt = performance.now()
  let isAnswered = false
  // The request's signal could serve for both, but creating it costs as much as reading the body.
  const isGone = () => isAnswered || (http?.outgoing ? http.outgoing.destroyed : request.signal.aborted)
  const headers = headersOf(request, http?.incoming)
  const requestId = requestIdOf(headers.get('request-id'))
  tracing()?.current()?.setAttribute('http.response.header.request-id', [requestId])
  const trace = receivedTrace(headers)
  const exchange: Exchange = {
    function: endpoint.name,
    route: endpoint.path,
    requestId,
    trace,
    headers,
    identity: undefined,
    rateLimit: undefined,
    response: responseState(headers.get('consistency-token') ?? undefined),
    http,
    isGone,
  }
  if (http?.outgoing) noteAccess(http.outgoing, exchange)
  const response = await answer(endpoint, request, params, exchange, admission)
  isAnswered = true
  admission.observe(response.status, startedAt, trace)
  return response
}

async function answer(
  endpoint: Endpoint,
  request: Request,
  params: Record<string, string>,
  exchange: Exchange,
  admission: Admission,
): Promise<Response> {
  try {
    const result = await resultOf(endpoint, request, params, exchange, admission)
    return toResponse(result, exchange)
  } catch (thrown) {
    const error = toServiceError(refusedInput(thrown) ?? toPublicError(thrown))
    exchange.code = error.code
    logFailure(endpoint.name, error, thrown, exchange)
    // A replayed failure repeats the first answer, with its request id.
    const { replayedFrom } = exchange.response
    const extra = {
      ...rateLimitHeaders(exchange.rateLimit),
      ...(replayedFrom && error.status < 500 && { 'idempotent-replayed': 'true' }),
    }
    return problem(request, error, exchange.requestId, extra, replayedFrom)
  }
}

/** Checks a request's head before it reads the body. The request has a slot only while the handler runs. */
async function resultOf(
  endpoint: Endpoint,
  request: Request,
  rawParams: Record<string, string>,
  exchange: Exchange,
  admission: Admission,
): Promise<HandlerResult> {
  const { headers, response, requestId, trace, isGone } = exchange
  const { method, isRead, limits } = endpoint
  const admitted = admit(exchange, limits.timeoutMs)
  const identity = admitted instanceof Promise ? await admitted : admitted
  const { apiKeyId, scopes } = identity
  exchange.identity = identity
  requireScope(identity, endpoint.scope)
  // A bad token is refused here, since not every read reaches a server that would check it.
  if (isRead && response.consistencyToken !== undefined) parseToken(response.consistencyToken)
  const params = validateParams(rawParams, endpoint.params)
  const query = endpoint.request.query ? validate(endpoint.request.query, queryOf(request.url)) : undefined
  const { content: received, release } =
    method === 'GET' ? nothing : await receive(endpoint, request, exchange, apiKeyId)
  const work = () => {
    const idempotency =
      !isRead && (method === 'POST' || method === 'PATCH')
        ? idempotencyKeyOf(headers.get('idempotency-key'), {
            apiKeyId,
            requestId,
            method,
            path: pathOf(request.url),
            query,
            body: received,
          })
        : undefined
    const context: RequestContext = {
      actor: actorOf(identity),
      scopes,
      ownsReservations: keysOwnReservations(),
      trace,
      idempotency,
      response,
      isGone,
    }
    const body = endpoint.request.body && method !== 'GET' ? validate(endpoint.request.body, received) : undefined
    return endpoint.handler({ params, query, body, headers, context })
  }
  return admission.run(apiKeyId, work, release)
}

const nothing: Received<undefined> = { content: undefined, release: () => {} }

function receive(
  { request: { body, contentTypes }, limits }: Endpoint,
  request: Request,
  exchange: Exchange,
  apiKeyId: string,
): Promise<Received<unknown>> {
  const read = body === Upload ? readUpload : readJson
  const source = { request, http: exchange.http, apiKeyId, bytesMax: limits.maxBodyBytes }
  return read(source, exchange.headers, contentTypes)
}
