import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { TraceContext } from '#telemetry'
import type { Exchange } from '../exchange.ts'

/** Headers that concern one connection and are not forwarded (RFC 9110, 7.6.1). Headers that start with `proxy-` are not forwarded either. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** Headers that the router replaces. undici writes the upstream's own Host, and the router itself answers Expect. */
const REPLACED = new Set([
  'host',
  'expect',
  'request-id',
  'function',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
])

/**
 * The headers to send upstream, as a flat list of names and values in the client's own order and spelling. The peer's address is
 * appended to X-Forwarded-For. X-Forwarded-Proto and -Host are kept from a proxy in front, or else describe this connection. A client can
 * forge all but the last X-Forwarded-For entry, so they must not authorise anything. `Function` names the intended function: if another
 * function has got the address since the look-up, it answers 421. `trace` replaces the client's own headers.
 */
export function upstreamHeaders(
  { req, requestId }: Exchange,
  functionName: string,
  trace: TraceContext | undefined,
): string[] {
  const named = namedByConnection(req.headers.connection)
  const headers: string[] = []
  for (let i = 0; i + 1 < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i] ?? ''
    const key = name.toLowerCase()
    if (isHopByHop(key, named) || REPLACED.has(key) || (trace && OF_TRACE.has(key))) continue
    headers.push(name, req.rawHeaders[i + 1] ?? '')
  }
  const peer = req.socket.remoteAddress ?? 'unknown'
  headers.push('x-forwarded-for', append(req.headers['x-forwarded-for'], peer))
  headers.push('x-forwarded-proto', single(req.headers['x-forwarded-proto']) ?? schemeOf(req))
  const host = single(req.headers['x-forwarded-host']) ?? req.headers.host
  if (host !== undefined) headers.push('x-forwarded-host', host)
  headers.push('via', `${req.httpVersion} router`, 'request-id', requestId, 'function', functionName)
  if (trace) headers.push('traceparent', trace.traceparent)
  if (trace?.tracestate) headers.push('tracestate', trace.tracestate)
  return headers
}

const OF_TRACE = new Set(['traceparent', 'tracestate'])

/** Returns the headers of the answer to the client, from undici's raw list. Keeps the order, the spelling and repeated names. */
export function clientHeaders(raw: ReadonlyArray<Buffer | string>, requestId: string): string[] {
  const pairs: Array<[key: string, name: string, value: string]> = []
  let connection: string | undefined
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = latin1(raw[i])
    const key = name.toLowerCase()
    const value = latin1(raw[i + 1])
    if (key === 'connection') connection = append(connection, value)
    pairs.push([key, name, value])
  }
  const named = namedByConnection(connection)
  const headers: string[] = []
  for (const [key, name, value] of pairs) {
    if (!isHopByHop(key, named) && key !== 'request-id') headers.push(name, value)
  }
  headers.push('request-id', requestId)
  return headers
}

/** Gives the in-process function the id that the router answers with, whatever the client sent. */
export function setRequestId({ req, requestId }: Exchange): void {
  if (req.headers['request-id'] === requestId) return
  req.headers['request-id'] = requestId
  const kept = req.rawHeaders.filter((_, i, raw) => raw[i - (i % 2)]?.toLowerCase() !== 'request-id')
  req.rawHeaders = [...kept, 'request-id', requestId]
}

function isHopByHop(key: string, named: Set<string> | undefined): boolean {
  return HOP_BY_HOP.has(key) || key.startsWith('proxy-') || named?.has(key) === true
}

/** Returns the additional headers that a Connection header declares to be for this connection only. */
function namedByConnection(connection: string | undefined): Set<string> | undefined {
  // Nearly every request has one of these two values. They name no header, so no set is built for them.
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return new Set(connection.split(',').map((name) => name.trim().toLowerCase()))
}

function append(list: string | string[] | undefined, value: string): string {
  return list === undefined ? value : `${list}, ${value}`
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

function schemeOf(req: IncomingMessage): string {
  return (req.socket as Partial<TLSSocket>).encrypted ? 'https' : 'http'
}

function latin1(value: Buffer | string | undefined): string {
  return typeof value === 'string' ? value : (value?.toString('latin1') ?? '')
}
