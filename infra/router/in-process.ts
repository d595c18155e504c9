import { getRequestListener, RequestError } from '@hono/node-server'
import { type Exchange, malformedRequest } from './exchange.ts'
import { setRequestId } from './headers.ts'
import { tooLarge } from './request-body.ts'
import type { RouteEntry } from './route.ts'

type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>

/**
 * Answers exchanges by calling a function in this process. The function keeps its own time limit; a client that leaves aborts
 * `request.signal`.
 */
export function callInProcess(fetch: Fetch, entry: RouteEntry): (exchange: Exchange) => void {
  return (exchange) => {
    const { req, res, requestId } = exchange
    setRequestId(exchange)
    res.setHeader('request-id', requestId)
    if (req.headers.expect !== undefined) res.writeContinue()
    // A declared length has been checked already; only a chunked body has to be counted.
    const chunked = req.headers['transfer-encoding'] !== undefined
    const call: Fetch = chunked ? (request, env) => fetchCounted(fetch, request, env, entry.maxBodyBytes) : fetch
    const listener = getRequestListener(call, { errorHandler: (thrown) => exchange.fail(publicError(thrown)) })
    listener(req, res).catch(exchange.fail)
  }
}

function publicError(thrown: unknown): unknown {
  return thrown instanceof RequestError ? malformedRequest('The Host or the path is not well-formed.') : thrown
}

/** Hands on at most `bytesMax` bytes of the body. Past it the router answers, whatever the function makes of the broken body. */
function fetchCounted(fetch: Fetch, request: Request, env: unknown, bytesMax: number): Promise<Response> {
  return new Promise((resolve, reject) => {
    let bytes = 0
    const counter = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.byteLength
        if (bytes <= bytesMax) {
          controller.enqueue(chunk)
          return
        }
        const error = tooLarge(bytesMax)
        controller.error(error)
        reject(error)
      },
    })
    const { method, headers, signal } = request
    const body = request.body?.pipeThrough(counter) ?? null
    const counted = new Request(request.url, { method, headers, signal, body, duplex: 'half' })
    Promise.resolve(fetch(counted, env)).then(resolve, reject)
  })
}
