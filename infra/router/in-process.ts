import { getRequestListener, RequestError } from '@hono/node-server'
import { type Exchange, malformedRequest } from './exchange.ts'
import { setRequestId } from './proxy/headers.ts'

type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>

/**
 * Answers exchanges by calling a function in this process. The function keeps its own time limit; a client that leaves aborts
 * `request.signal`.
 */
export function callInProcess(fetch: Fetch): (exchange: Exchange) => void {
  return (exchange) => {
    const { req, res, requestId } = exchange
    setRequestId(exchange)
    res.setHeader('request-id', requestId)
    // The function says `100 Continue` and bounds the body itself, once the request is authenticated.
    const listener = getRequestListener(fetch, { errorHandler: (thrown) => exchange.fail(publicError(thrown)) })
    listener(req, res).catch(exchange.fail)
  }
}

function publicError(thrown: unknown): unknown {
  return thrown instanceof RequestError ? malformedRequest('The Host or the path is not well-formed.') : thrown
}
