import type { IncomingMessage, RequestListener } from 'node:http'
import { ServiceError } from '#errors'
import { requireNoCoding } from '#function/body'
import { hasBody } from '#function/end-answer'
import { tracing } from '#telemetry'
import { type Exchange, type Log, openExchange } from './exchange.ts'
import { callInProcess } from './in-process.ts'
import { createMatcher } from './match.ts'
import { docsRoutes } from './operations/docs.ts'
import { measure } from './operations/metrics.ts'
import { operationRoutes, type Readiness } from './operations/operations.ts'
import { inRouterSpan } from './operations/spans.ts'
import { forwardTo } from './proxy/proxy.ts'
import { tooLarge } from './proxy/request-body.ts'
import type { Route, RouteEntry, Target } from './route.ts'
import { instanceAdder } from './upstreams/instances.ts'
import type { Resolve } from './upstreams/origin.ts'
import { createUpstreams, type Upstreams } from './upstreams/upstreams.ts'

export interface RouterOptions {
  routes: Array<RouteEntry & { target: Target }>
  openapi: object
  /** Returns the parts that fail, each with the reason. Empty means ready. */
  ready?: Readiness
  log?: Log
  /** Returns the addresses of an upstream's name. Default: the system's resolver. */
  resolve?: Resolve
}

export interface Router {
  listener: RequestListener
  /** Closes the sockets to the upstreams. Close the server in front first. */
  close(): Promise<void>
}

/** Serves every route, `/healthz`, `/readyz`, `/openapi.json` and `/docs`. Throws if two routes are the same. */
export function createRouter({ routes, openapi, ready, log = () => {}, resolve }: RouterOptions): Router {
  const upstreams = createUpstreams(resolve)
  const match = createMatcher<Route>([
    ...operationRoutes(openapi, ready ?? (async () => ({}))),
    ...docsRoutes(titleOf(openapi)),
    ...routes.map((route) => functionRoute(route, upstreams)),
  ])
  return {
    listener: (req, res) => answer(openExchange(req, res, log), match),
    close: () => upstreams.close(),
  }
}

function answer(exchange: Exchange, match: ReturnType<typeof createMatcher<Route>>): void {
  const found = match(exchange.req.method ?? '', exchange.path)
  measure(exchange, found.kind === 'found' ? found.entry.name : undefined)
  switch (found.kind) {
    case 'not_found':
      exchange.fail(new ServiceError('not_found', 'There is no such route. /openapi.json lists them.'))
      return
    case 'method_not_allowed': {
      const error = new ServiceError('method_not_allowed', `This path answers ${found.allow}.`)
      exchange.fail(error, { allow: found.allow })
      return
    }
    case 'found':
      exchange.route = found.entry.path
      run(found.entry, exchange)
  }
}

/** Creates no promise if the handler creates none, as on the proxy's hot path. */
function run(route: Route, exchange: Exchange): void {
  try {
    route.handle(exchange)?.catch(exchange.fail)
  } catch (error) {
    exchange.fail(error)
  }
}

function functionRoute({ target, ...entry }: RouteEntry & { target: Target }, upstreams: Upstreams): Route {
  const answer =
    'fetch' in target
      ? callInProcess(target.fetch)
      : forwardTo(
          upstreams.rotation(target.upstreams),
          entry,
          target.deployment && instanceAdder(target.deployment, upstreams),
        )
  const handle = (exchange: Exchange) => {
    assertAcceptableBody(exchange.req, entry.maxBodyBytes)
    answer(exchange)
  }
  return {
    name: entry.name,
    method: entry.method,
    path: entry.path,
    handle(exchange) {
      const on = tracing()
      if (on) inRouterSpan(on, exchange, entry, () => handle(exchange))
      else handle(exchange)
    },
  }
}

/** Refuses a body by the request's head alone. The server has already ensured that the body can be read in only one way. */
function assertAcceptableBody(req: IncomingMessage, bytesMax: number): void {
  if (hasBody(req)) requireNoCoding(req.headers['content-encoding'])
  if (Number(req.headers['content-length'] ?? 0) > bytesMax) throw tooLarge(bytesMax)
}

function titleOf(openapi: { info?: { title?: unknown } }): string {
  return typeof openapi.info?.title === 'string' ? openapi.info.title : 'API reference'
}
