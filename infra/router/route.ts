import type { Exchange } from './exchange.ts'

/** A function's route, from its definition (in process) or from dist/manifest.json. */
export interface RouteEntry {
  name: string
  method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  /** `/v1/products/{productId}/stock` */
  path: string
  /** How long a proxied function may be silent before the router answers 504. A function in this process applies its own limit. */
  timeoutMs: number
  maxBodyBytes: number
  /** Whether it is a POST that only reads, and so may be sent again. */
  isRead?: boolean | undefined
}

/**
 * A function in this process, or the origins of the processes that run it. Only list-functions has `deployment`: the origins of every
 * function's processes, by the function's name. The router adds the instances of each function to its answer from there.
 */
export type Target =
  | { fetch: (request: Request, env?: unknown) => Response | Promise<Response> }
  | { upstreams: URL[]; deployment?: ReadonlyMap<string, URL[]> }

/** A method and a path with their handler. An error that the handler throws becomes the answer. */
export interface Route {
  /** The function's name; undefined for the router's own routes. */
  name?: string
  method: string
  path: string
  handle(exchange: Exchange): void | Promise<void>
}
