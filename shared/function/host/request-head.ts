import type { IncomingMessage } from 'node:http'
import { ServiceError } from '#errors'

/** Headers that the router or a function reads. */
const READ = new Set([
  'accept',
  'authorization',
  'baggage',
  'consistency-token',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'function',
  'host',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-unmodified-since',
  'request-id',
  'traceparent',
  'tracestate',
  'transfer-encoding',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
])

/**
 * The fault in a request's head that HTTP forbids, or that can be read in two ways, so that a proxy in front may have read it in the other way:
 * https://www.rfc-editor.org/rfc/rfc9112#section-11. Node's parser accepts such a head. `isServed` returns whether a host is served here.
 */
export function faultOf(req: IncomingMessage, isServed: (hostname: string) => boolean): ServiceError | undefined {
  const { headers, httpVersionMinor } = req
  const encoding = headers['transfer-encoding']
  if (encoding !== undefined && (encoding.toLowerCase() !== 'chunked' || httpVersionMinor === 0)) {
    // Node decodes only `chunked`. Any other coding would be forwarded without the header that says how to read it.
    return malformed('The only Transfer-Encoding understood here is chunked, of HTTP/1.1.')
  }
  const named = readNamedByConnection(headers.connection)
  if (named) return malformed(`Connection names ${named}, which concerns more than this connection.`)
  const hosts = linesOf(req.rawHeaders, 'host')
  if (hosts !== 1) return malformed(hosts === 0 ? 'A request needs a Host header.' : 'A request has one Host header.')
  const hostname = hostnameOf(headers.host ?? '')
  if (hostname === undefined) return malformed('The Host header is not well-formed.')
  const target = authorityOf(req.url ?? '')
  const targetHost = target === undefined ? hostname : hostnameOf(target)
  if (targetHost === undefined) return malformed('The request target is not well-formed.')
  if (isServed(hostname) && isServed(targetHost)) return undefined
  return new ServiceError('misdirected_request', 'This host is not served here. ALLOWED_HOSTS names those that are.')
}

export function malformed(detail: string): ServiceError {
  return new ServiceError('malformed_request', detail)
}

function readNamedByConnection(connection: string | undefined): string | undefined {
  // The two values that nearly every request has do not name a header.
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return connection.split(',').find((name) => READ.has(name.trim().toLowerCase()))
}

/** The number of a header's lines: for some headers, Node keeps the first line and drops the others. */
function linesOf(raw: readonly string[], name: string): number {
  let lines = 0
  for (let at = 0; at < raw.length; at += 2) {
    const each = raw[at]
    if (each?.length === name.length && each.toLowerCase() === name) lines++
  }
  return lines
}

/** A name, an IPv4 address or an IPv6 address, and a port: https://www.rfc-editor.org/rfc/rfc9110#name-host-and-authority */
const HOST = /^(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::\d{0,5})?$/i

/** The last Host, since nearly all requests have the same one. */
let last: { host: string; hostname: string | undefined } = { host: '', hostname: undefined }

/** The host without its port: a name in lower case, or an address in its usual form. Undefined if it is malformed. */
function hostnameOf(host: string): string | undefined {
  if (host === last.host) return last.hostname
  const url = HOST.test(host) && URL.canParse(`http://${host}/`) ? new URL(`http://${host}/`) : undefined
  last = { host, hostname: url?.hostname }
  return last.hostname
}

/** The host and port of a target in absolute form, `GET http://host/path`: https://www.rfc-editor.org/rfc/rfc9112#name-absolute-form */
function authorityOf(target: string): string | undefined {
  if (target.startsWith('/')) return undefined
  return /^https?:\/\/([^/?#]*)/i.exec(target)?.[1]
}

/**
 * The hosts of a service for this machine only. This protects against DNS rebinding: a page in a browser can point its own name at this machine,
 * and send requests under that name. `others` are further names to serve, such as a load balancer's.
 */
export function localHosts(others: readonly string[]): (hostname: string) => boolean {
  const allowed = new Set(others.map((host) => hostnameOf(host.trim())))
  return (hostname) => {
    const name = hostname.endsWith('.') ? hostname.slice(0, -1) : hostname
    if (name === 'localhost' || name.endsWith('.localhost') || name === '[::1]') return true
    return /^127(\.\d{1,3}){3}$/.test(name) || allowed.has(name)
  }
}
