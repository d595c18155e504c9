import { getRequestListener, RequestError } from '@hono/node-server'
import { type Exchange, malformedRequest } from './exchange.ts'
import { setRequestId } from './proxy/headers.ts'

type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>

/**
 * Answers exchanges by calling a function in this process. The function applies its own time limit. If the client disconnects,
 * `request.signal` aborts.
 */
export function callInProcess(fetch: Fetch): (exchange: Exchange) => void {
  return (exchange) => {
    const { req, res, requestId } = exchange
    setRequestId(exchange)
    res.setHeader('request-id', requestId)
    // The function sends `100 Continue` and limits the body itself, once the request is authenticated.
    const listener = getRequestListener(fetch, { errorHandler: (thrown) => exchange.fail(publicError(thrown)) })
    listener(req, res).catch(exchange.fail)
  }
}

function publicError(thrown: unknown): unknown {
  return thrown instanceof RequestError ? malformedRequest('The Host or the path is not well-formed.') : thrown
}
