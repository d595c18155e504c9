import { type IncomingMessage, request } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import type { Dispatcher } from 'undici'

/** Opens a connection. */
export type Connect = (callback: (error: Error | null, socket: Duplex | null) => void) => void

export interface HeadFirstRequest {
  method: string
  path: string
  /** A flat list of names and values, including `Host`. */
  headers: readonly string[]
  /** It is not read before the other side asks for it. It is destroyed at the end. */
  body: Readable
}

type Handler = Required<
  Pick<
    Dispatcher.DispatchHandler,
    'onRequestStart' | 'onResponseStart' | 'onResponseData' | 'onResponseEnd' | 'onResponseError'
  >
>

/**
 * Sends a request on its own connection: first the head, then the body once the other side sends `100 Continue`. So the other side can
 * refuse the request after the head. undici can't do that, since it sends the head with the first byte of the body. Calls the handler as
 * undici does, but without the `Connection` header, which concerns only this connection.
 */
export function dispatchHeadFirst(connect: Connect, { method, path, headers, body }: HeadFirstRequest, to: Handler) {
  let response: IncomingMessage | undefined
  let isOver = false
  const end = () => {
    isOver = true
    outgoing.destroy()
    body.destroy()
  }
  const fail = (error: Error) => {
    if (isOver) return
    end()
    to.onResponseError(controller, error)
  }
  const controller = controllerOf(
    () => response,
    () => isOver,
    fail,
  )
  const outgoing = request({
    method,
    path,
    headers: [...headers, ...framing(headers), 'expect', '100-continue'],
    createConnection: (_options, callback) => {
      connect(callback as Parameters<Connect>[0])
      return undefined
    },
  })
  outgoing.on('error', fail)
  outgoing.on('socket', () => to.onRequestStart(controller, {}))
  outgoing.once('continue', () => {
    to.onResponseStart(controller, 100, {})
    if (!isOver) body.on('error', fail).pipe(outgoing)
  })
  outgoing.on('response', (incoming) => {
    response = incoming
    const { connection, ...others } = incoming.headers
    to.onResponseStart(controller, incoming.statusCode ?? 0, others)
    incoming.on('data', (chunk: Buffer) => to.onResponseData(controller, chunk))
    incoming.on('error', fail)
    incoming.on('end', () => {
      if (isOver) return
      end()
      to.onResponseEnd(controller, {})
    })
  })
  outgoing.flushHeaders()
}

/** Makes the controller by which undici's handlers control a response. */
function controllerOf(
  response: () => IncomingMessage | undefined,
  isOver: () => boolean,
  abort: (error: Error) => void,
): Dispatcher.DispatchController {
  return {
    get aborted() {
      return isOver()
    },
    get paused() {
      return response()?.isPaused() ?? false
    },
    get rawHeaders() {
      return response()?.rawHeaders ?? null
    },
    reason: null,
    abort,
    pause: () => response()?.pause(),
    resume: () => response()?.resume(),
  }
}

/** The framing of the body. Node adds it only for methods that usually have a body. */
function framing(headers: readonly string[]): string[] {
  const isSized = headers.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'content-length')
  return isSized ? [] : ['transfer-encoding', 'chunked']
}
