import type { IncomingMessage } from 'node:http'

/** A request's headers, by their names in lower case. */
export interface RequestHeaders {
  get: (name: string) => string | null
}

/** Where a request came over HTTP, Node has parsed them: a Headers object would cost a tenth of a whole request, to say the same. */
export function headersOf(request: Request, incoming: IncomingMessage | undefined): RequestHeaders {
  if (!incoming) return request.headers
  const { headers } = incoming
  return {
    get(name) {
      const value = headers[name]
      if (value === undefined) return null
      return Array.isArray(value) ? value.join(', ') : value
    },
  }
}
