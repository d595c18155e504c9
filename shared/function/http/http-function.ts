import type { HttpBindings } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import type * as z from 'zod'
import { type Resource, ServiceError } from '#errors'
import { tracing } from '#telemetry'
import { declare } from '../declared.ts'
import {
  defaultLimits,
  type FunctionDefinition,
  type HttpOptions,
  type Limits,
  type Method,
  type ParamsOption,
  type Route,
} from '../definition.ts'
import { noteAccess } from '../host/access-log.ts'
import { requestIdOf } from '../request-id.ts'
import { type Admission, createAdmission } from './admission.ts'
import { endOfTurn } from './end-of-turn.ts'
import { problem } from './http-response.ts'
import { type Endpoint, respond } from './pipeline.ts'
import { inServerSpan } from './server-span.ts'

/**
 * Declares a function that answers a client's requests: its route, the scope that it needs, the schemas of requests and responses, and the handler.
 * Requests are checked before the handler runs; an error that the handler throws becomes a problem document.
 *
 * @example
 * export default httpFunction({
 *   name: 'get-stock',
 *   route: 'GET /v1/products/{productId}/stock',
 *   params: { productId: 'product' },
 *   tag: 'stock',
 *   scope: 'stock:read',
 *   summary: 'Read a product’s stock.',
 *   responses: { 200: ProductStock, 404: ['product_not_found'] },
 *   handler: async ({ params, context }) => ok(await getStock(params.productId, context)),
 * })
 */
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
  const admission = createAdmission(name, limits)
  const isRead = options.isRead ?? method === 'GET'
  const endpoint: Endpoint = {
    name,
    method,
    path,
    isRead,
    scope,
    params: Object.entries(params),
    limits,
    request,
    handler: options.handler as Endpoint['handler'],
  }
  return declare({
    name,
    summary,
    trigger: { kind: 'http', method, path },
    limits,
    scope,
    isRead,
    params,
    request,
    responses,
    produces: options.produces ?? ['application/json'],
    settings: options.settings,
    tag: options.tag,
    sends: options.sends ?? [],
    emits: options.emits ?? [],
    app: appOf(endpoint, admission),
    inFlight: admission.current,
    recent: admission.recent,
  })
}

/** A Hono app with the function's route. It answers every other method and path with a problem document. */
function appOf(endpoint: Endpoint, admission: Admission): Hono {
  const { name, method, path } = endpoint
  const app = new Hono()
  const pattern = path.replaceAll(/\{(\w+)\}/g, ':$1')
  const allowed: readonly string[] = method === 'GET' ? ['GET', 'HEAD'] : [method]
  app.all(pattern, async (c) => {
    if (!allowed.includes(c.req.method)) {
      const allow = allowed.join(', ')
      const error = new ServiceError('method_not_allowed', `Use ${allow} here.`)
      return refuse(c, error, { function: name, route: path }, { allow })
    }
    const http = c.env as Partial<HttpBindings> | undefined
    const answer = () => respond(endpoint, c.req.raw, c.req.param(), admission, http)
    const on = tracing()
    const response = await (on ? inServerSpan(on, endpoint, c.req.raw, http, answer) : answer())
    await endOfTurn()
    return response
  })
  app.notFound((c) => {
    const error = new ServiceError('not_found', 'There is nothing at this path.')
    return refuse(c, error, { function: name, route: undefined })
  })
  return app
}

/** Answers a request that is not for the function's route. */
function refuse(
  c: Context,
  error: ServiceError,
  about: { function: string; route: string | undefined },
  headers: Record<string, string> = {},
): Response {
  const requestId = requestIdOf(c.req.header('request-id'))
  const { outgoing } = (c.env ?? {}) as Partial<HttpBindings>
  if (outgoing) noteAccess(outgoing, { ...about, requestId, code: error.code })
  return problem(c.req.raw, error, requestId, headers)
}
