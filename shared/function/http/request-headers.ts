import type { IncomingMessage } from 'node:http'

/** A request's headers, by their names in lower case. */
export interface RequestHeaders {
  get: (name: string) => string | null
}

/** A request's preconditions (RFC 9110, 13.1). Dates are ignored, since no resource here has one to compare. */
export function preconditionsOf(headers: RequestHeaders): { ifMatch: string | null; ifNoneMatch: string | null } {
  return { ifMatch: headers.get('if-match'), ifNoneMatch: headers.get('if-none-match') }
}

/** Uses the headers that Node has parsed, if there are any: a Headers object would cost a tenth of a whole request. */
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
