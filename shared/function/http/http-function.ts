import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
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
import { type Resource, ServiceError } from '#errors'
import { validate } from '#input'
import { childTrace } from '#telemetry'
import {
  type Answer,
  defaultLimits,
  type FunctionDefinition,
  type HttpOptions,
  type HttpRequest,
  type Limits,
  type Method,
  type ParamsOption,
  type Route,
} from '../definition.ts'
import { toServiceError } from '../problem.ts'
import { requestIdOf } from '../request-id.ts'
import { type Admission, createAdmission } from './admission.ts'
import { admit } from './admit.ts'
import { type Received, readJson, readUpload } from './body.ts'
import { endOfTurn } from './end-of-turn.ts'
import { actorOf, type Exchange, logFailure, problem, toResponse } from './http-response.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'
import { headersOf } from './request-headers.ts'
import { Upload } from './upload.ts'
import { pathOf, queryOf, validateParams } from './validate.ts'

/** Declares a function that answers a client's request: who may ask, what is asked and answered, and what does it. */
export function httpFunction<
  Path extends Route,
  Query extends z.ZodType = z.ZodUnknown,
  Body extends z.ZodType = z.ZodUnknown,
>(options: HttpOptions<Path, Query, Body> & ParamsOption<Path>): FunctionDefinition {
  const { name, summary, route, scope, responses } = options
  const [method, path] = route.split(' ') as [Method, string]
  const limits: Limits = { ...defaultLimits, ...options.limits }
  const params: Readonly<Record<string, Resource>> = options.params ?? {}
  const request = { contentTypes: ['application/json'], ...options.request }
  const admission = createAdmission(name, limits.inFlight)
  const endpoint: Endpoint = {
    name,
    method,
    scope,
    params: Object.entries(params),
    limits,
    request,
    handler: options.handler as Endpoint['handler'],
  }

  const app = new Hono()
  const pattern = path.replaceAll(/\{(\w+)\}/g, ':$1')
  const allowed: readonly string[] = method === 'GET' ? ['GET', 'HEAD'] : [method]
  app.all(pattern, async (c) => {
    if (!allowed.includes(c.req.method)) {
      const allow = allowed.join(', ')
      const error = new ServiceError('method_not_allowed', `Use ${allow} here.`)
      return problem(c.req.raw, error, requestIdOf(c.req.header('request-id')), { allow })
    }
    const startedAt = performance.now()
    const response = await respond(
      endpoint,
      c.req.raw,
      c.req.param(),
      admission,
      c.env as Partial<HttpBindings> | undefined,
    )
    admission.observe(response.status, startedAt)
    await endOfTurn()
    return response
  })
  app.notFound((c) =>
    problem(
      c.req.raw,
      new ServiceError('not_found', 'There is nothing at this path.'),
      requestIdOf(c.req.header('request-id')),
    ),
  )
  return {
    name,
    summary,
    trigger: { kind: 'http', method, path },
    limits,
    scope,
    params,
    request,
    responses,
    produces: options.produces ?? ['application/json'],
    settings: options.settings,
    tag: options.tag,
    sends: options.sends ?? [],
    app,
    inFlight: admission.current,
  }
}

interface Endpoint {
  name: string
  method: Method
  scope: Scope
  params: ReadonlyArray<readonly [name: string, resource: Resource]>
  limits: Limits
  request: { query?: z.ZodType; body?: z.ZodType; contentTypes: readonly string[] }
  handler: (request: HttpRequest<string, unknown, unknown>) => Promise<Answer>
}

async function respond(
  endpoint: Endpoint,
  request: Request,
  params: Record<string, string>,
  admission: Admission,
  http: Partial<HttpBindings> | undefined,
): Promise<Response> {
  let isAnswered = false
  // The signal tells as well, and would do for all, but to make one costs as much as to read the body.
  const isGone = () => isAnswered || (http?.outgoing ? http.outgoing.destroyed : request.signal.aborted)
  const headers = headersOf(request, http?.incoming)
  const requestId = requestIdOf(headers.get('request-id'))
  const trace = childTrace(headers.get('traceparent'), headers.get('tracestate'))
  const exchange: Exchange = {
    requestId,
    trace,
    headers,
    identity: undefined,
    rateLimit: undefined,
    response: responseState(headers.get('consistency-token') ?? undefined),
    http,
    isGone,
  }
  try {
    const answer = await answerOf(endpoint, request, params, exchange, admission)
    return toResponse(answer, exchange)
  } catch (thrown) {
    const error = toServiceError(refusedInput(thrown) ?? toPublicError(thrown))
    logFailure(endpoint.name, error, thrown, exchange)
    // A replayed failure is the first answer again, its request id included.
    const { replayedFrom } = exchange.response
    const extra = {
      ...rateLimitHeaders(exchange.rateLimit),
      ...(replayedFrom && error.status < 500 && { 'idempotent-replayed': 'true' }),
    }
    return problem(request, error, requestId, extra, replayedFrom)
  } finally {
    isAnswered = true
  }
}

/** A request is judged by its head before its body is taken in, and has a place only while it is worked on. */
async function answerOf(
  endpoint: Endpoint,
  request: Request,
  rawParams: Record<string, string>,
  exchange: Exchange,
  admission: Admission,
): Promise<Answer> {
  const { headers, response, requestId, trace, isGone } = exchange
  const { method, limits } = endpoint
  const admitted = admit(exchange, limits.timeoutMs)
  const identity = admitted instanceof Promise ? await admitted : admitted
  const { apiKeyId, scopes } = identity
  exchange.identity = identity
  requireScope(identity, endpoint.scope)
  // Here for every read, whether or not it asks a server that a token is for.
  if (method === 'GET' && response.consistencyToken !== undefined) parseToken(response.consistencyToken)
  const params = validateParams(rawParams, endpoint.params)
  const query = endpoint.request.query ? validate(endpoint.request.query, queryOf(request.url)) : undefined
  const { content: received, release } =
    method === 'GET' ? nothing : await receive(endpoint, request, exchange, apiKeyId)
  const work = () => {
    const idempotency =
      method === 'POST' || method === 'PATCH'
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
  return admission.within(apiKeyId, limits.timeoutMs, work, release)
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
