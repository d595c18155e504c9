import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ErrorCode, ServiceError } from '#errors'
import { childTrace, logger, logSettings, type TraceContext, traceIdOf, writeAccessLine } from '#telemetry'

/** The parts of a request's access line that the connection does not know. Read when the request has ended. */
export interface AccessNotes {
  function: string
  /** The route's template, never the path: a path has ids, and anything that a client puts there. */
  route: string | undefined
  requestId: string
  trace?: TraceContext
  identity?: { apiKeyId: string } | undefined
  /** The code of a problem document. */
  code?: ErrorCode
}

const NOTES = Symbol('what the access line says')
interface Noted {
  [NOTES]?: AccessNotes
}

/**
 * Names the function that answers a request, and so gives the request a line in the log. A request that is not answered in this process, because it
 * is forwarded or a probe, has no line here.
 */
export function noteAccess(res: object, notes: AccessNotes): void {
  const noted: Noted = res
  noted[NOTES] = notes
}

const nothing = () => {}

/** Begins to watch a request. Returns the function to call when its answer is sent or its connection is gone. */
export function watchAccess(req: IncomingMessage, res: ServerResponse & Noted): () => void {
  if (!logsAccess()) return nothing
  const startedAt = performance.now()
  return () => {
    const bytes = newBytesOf(req.socket)
    const notes = res[NOTES]
    if (!notes) return
    // 499 is nginx's status for a client that left before its answer.
    const caller = notes.trace ? '' : callersTrace(req.headers.traceparent)
    const status = res.headersSent ? res.statusCode : 499
    const ms = Math.round((performance.now() - startedAt) * 100) / 100
    const end = res.headersSent && !res.writableFinished ? ',"cut":true}\n' : '}\n'
    writeAccessLine(`${lineOf(notes, req.method, status)},"ms":${ms},"bytes":${bytes}${caller}${end}`)
  }
}

const COUNTED = Symbol('the bytes that earlier answers had')

/**
 * The bytes that a connection has sent since the last call, so answers that are sent together count for the first of them. Reading this number
 * takes longer than the rest of a line, so it is read once per request.
 */
function newBytesOf(socket: Socket & { [COUNTED]?: number }): number {
  const { bytesWritten, [COUNTED]: before = 0 } = socket
  socket[COUNTED] = bytesWritten
  return bytesWritten - before
}

/** Logs a request whose head could not be read. */
export function logUnreadable({ status, code }: ServiceError, requestId: string): void {
  const notes = { function: 'server', route: undefined, requestId, code }
  if (logsAccess()) writeAccessLine(`${lineOf(notes, null, status)}}\n`)
}

/** The caller's trace, for an answer that is not yet a part of it. */
function callersTrace(header: string | string[] | undefined): string {
  return typeof header === 'string' ? `,"trace_id":"${traceIdOf(childTrace(header))}"` : ''
}

function logsAccess(): boolean {
  return logSettings().ACCESS_LOG === '1' && logger().isLevelEnabled('info')
}

/** Assembled by hand: of the values, only a request id, of visible ASCII, can contain characters that JSON escapes. */
function lineOf(notes: AccessNotes, method: string | null | undefined, status: number): string {
  const { function: name, route, requestId, trace, identity, code } = notes
  const id = /["\\]/.test(requestId) ? JSON.stringify(requestId) : `"${requestId}"`
  const traced = trace ? `,"trace_id":"${traceIdOf(trace)}","span_id":"${trace.traceparent.slice(36, 52)}"` : ''
  const key = identity ? `,"api_key_id":"${identity.apiKeyId}"` : ''
  const problem = code ? `,"code":"${code}"` : ''
  const target = `"method":${method ? `"${method}"` : null},"route":${route ? `"${route}"` : null}`
  return `{"level":"info","time":"${isoTime()}","msg":"request","function":"${name}",${target},"status":${status}${problem},"request_id":${id}${traced}${key}`
}

let lastMs = 0
let lastTime = ''

/** The time in ISO 8601, computed once per millisecond. */
function isoTime(): string {
  const now = Date.now()
  if (now !== lastMs) {
    lastMs = now
    lastTime = new Date(now).toISOString()
  }
  return lastTime
}
