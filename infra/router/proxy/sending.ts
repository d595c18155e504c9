import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import type { ServiceError } from '#errors'
import { failSpan, type Span, traceOf } from '#telemetry'
import { type Exchange, originForm } from '../exchange.ts'
import { countRepeat } from '../operations/metrics.ts'
import { startTry } from '../operations/spans.ts'
import type { RouteEntry } from '../route.ts'
import type { Upstream } from '../upstreams/origin.ts'
import { noteAnswer, type Rotation, skipForAMoment } from '../upstreams/upstreams.ts'
import { brokenAnswer, misdirected, ownError, unreachable, upstreamsFull } from './failures.ts'
import { dispatchHeadFirst, type HeadFirstRequest } from './head-first.ts'
import { upstreamHeaders } from './headers.ts'
import { type ForwardedBody, isRepeatable, RequestBody } from './request-body.ts'

/** The first try and one more. A third try would add half as much load again to an outage, and help in almost none. */
const TRIES_MAX = 2
/** RFC 9110, 15.5.20: the request has reached a process that it is not meant for. */
const MISDIRECTED = 421

/** Receives an upstream's answer, or the failure in place of one. */
export interface AnswerHandler {
  /** The upstream wants the body. */
  onContinue: () => void
  onHead: (status: number, rawHeaders: readonly (Buffer | string)[]) => void
  /** Returns false to pause the answer until `resume`. */
  onChunk: (chunk: Buffer) => boolean
  onEnd: () => void
  onFailure: (failure: ServiceError) => void
  /** The body has to be streamed, but no connection for a stream is free. */
  onNoStream: () => void
}

/**
 * `waiting`: nothing has been sent. `sent`: the upstream may have acted on the request. `answering`: the handler has the
 * answer's head. `over`: anything that undici still reports is ignored.
 */
type State = 'waiting' | 'sent' | 'answering' | 'over'

/**
 * Sends an exchange's request to one upstream of a rotation. Sends it to another one if the first has certainly not acted on it, or if the
 * request may be acted on twice. A body that is at hand goes through the upstream's pool, a streamed body over its own connection.
 */
export class Sending implements Dispatcher.DispatchHandler {
  readonly #exchange: Exchange
  readonly #entry: RouteEntry
  readonly #rotation: Rotation
  readonly #body: ForwardedBody
  readonly #handler: AnswerHandler
  #state: State = 'waiting'
  #tries = 0
  /** Judged by the forwarded headers: `Connection` may have removed the client's idempotency key. */
  #isRepeatable = false
  /** The number of tries in which an upstream may have acted on the request. After one such try, no answer may say that nothing was done. */
  #sent = 0
  #upstream: Upstream | undefined
  /** The span of the current try. */
  #span: Span | undefined
  #isStreamed = false
  #controller: Dispatcher.DispatchController | undefined

  constructor(exchange: Exchange, entry: RouteEntry, rotation: Rotation, body: ForwardedBody, handler: AnswerHandler) {
    this.#exchange = exchange
    this.#entry = entry
    this.#rotation = rotation
    this.#body = body
    this.#handler = handler
  }

  get isAnswering(): boolean {
    return this.#state === 'answering'
  }

  get isPaused(): boolean {
    return this.#controller?.paused === true
  }

  /** Whether an upstream may have acted on the request. */
  get hasBeenSent(): boolean {
    return this.#sent > 0
  }

  start(): void {
    this.#begin()
  }

  resume(): void {
    this.#controller?.resume()
  }

  /** Ends all calls to the handler. */
  stop(): void {
    this.#state = 'over'
  }

  abort(reason: Error): void {
    this.#controller?.abort(reason)
  }

  /** The upstream has taken the request and is silent, so the next requests go elsewhere for a moment. */
  blameUpstream(): void {
    if (this.#state !== 'waiting' && this.#upstream) skipForAMoment(this.#upstream)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#state === 'over') {
      controller.abort(new Error('The exchange ended while it was queued'))
      return
    }
    this.#state = 'sent'
    this.#sent += 1
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status === 100) this.#handler.onContinue()
    // Interim answers (1xx) concern only this connection. The final answer follows.
    if (status < 200) return
    if (status === MISDIRECTED) {
      // Another function has the address by now. Nothing was done, just as without a connection.
      this.#state = 'waiting'
      this.#sent -= 1
      controller.abort(misdirected())
      return
    }
    if (this.#upstream) noteAnswer(this.#upstream, status, headers.connection)
    this.#span?.setAttribute('http.response.status_code', status)
    this.#handler.onHead(status, Array.isArray(controller.rawHeaders) ? controller.rawHeaders : [])
    this.#state = 'answering'
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#handler.onChunk(chunk)) controller.pause()
  }

  onResponseEnd(): void {
    this.#endTry()
    this.#handler.onEnd()
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#span) failSpan(this.#span, error)
    const upstream = this.#endTry()
    if (this.#state === 'over') return
    const own = ownError(error)
    const refused = !own && this.#state === 'waiting' ? upstream : undefined
    if (refused) skipForAMoment(refused)
    if (!own && this.#tries < TRIES_MAX && this.#canRepeat()) {
      countRepeat(this.#entry.name)
      this.#state = 'waiting'
      this.#begin(upstream, refused)
      return
    }
    this.#handler.onFailure(own ?? (this.hasBeenSent ? brokenAnswer(error) : unreachable(error)))
  }

  /** Tries at once, without a promise, if an address is known. */
  #begin(except?: Upstream, refused?: Upstream): void {
    const lookup = this.#rotation.prepare(refused)
    if (lookup) lookup.then(() => this.#state === 'waiting' && this.#try(except)).catch(this.#exchange.fail)
    else this.#try(except)
  }

  #try(except: Upstream | undefined): void {
    const upstream = this.#rotation.next(except)
    if (!upstream) {
      this.#handler.onFailure(this.#withoutUpstream())
      return
    }
    const body = this.#body.next()
    const isStreamed = body instanceof RequestBody
    if (isStreamed && !upstream.streams.take(this.#exchange.req.headers.authorization, 1)) {
      this.#handler.onNoStream()
      return
    }
    this.#tries += 1
    this.#upstream = upstream
    this.#isStreamed = isStreamed
    this.#controller = undefined
    upstream.inFlight += 1
    this.#dispatch(upstream, body)
  }

  #dispatch(upstream: Upstream, body: RequestBody | Buffer | null): void {
    const { req } = this.#exchange
    this.#span = startTry(this.#exchange, upstream, this.#tries)
    const span = this.#span ?? this.#exchange.span
    const headers = upstreamHeaders(this.#exchange, this.#entry.name, span && traceOf(span))
    this.#isRepeatable = this.#entry.isRead || isRepeatable(req.method, headers)
    const request = { method: req.method ?? 'GET', path: originForm(req.url ?? '/'), headers, body }
    if (body instanceof RequestBody) {
      this.#stream({ ...request, headers: ['host', upstream.host, ...headers], body }, upstream)
      return
    }
    // `reset: false` keeps the socket after a HEAD. undici would close it, because some servers answer HEAD with a body.
    upstream.pool.dispatch({ ...request, reset: false } as Dispatcher.DispatchOptions, this)
  }

  #stream(request: HeadFirstRequest, upstream: Upstream): void {
    try {
      dispatchHeadFirst(upstream.connect, request, this)
    } catch (error) {
      // Handled like every other failure that undici reports.
      this.onResponseError(undefined, error as Error)
    }
  }

  #withoutUpstream(): ServiceError {
    const missing = this.#rotation.missing()
    const failure = missing ? unreachable(missing) : upstreamsFull()
    return this.hasBeenSent ? brokenAnswer(failure) : failure
  }

  /** A request can be sent again if nothing was done with it or it may be done twice, and if its body is at hand. */
  #canRepeat(): boolean {
    const mayRepeat = this.#state === 'waiting' || (this.#state === 'sent' && this.#isRepeatable)
    return mayRepeat && this.#body.isAtHand()
  }

  #endTry(): Upstream | undefined {
    const upstream = this.#upstream
    this.#upstream = undefined
    this.#span?.end()
    this.#span = undefined
    if (upstream) upstream.inFlight -= 1
    if (this.#isStreamed) upstream?.streams.giveBack(this.#exchange.req.headers.authorization, 1)
    return upstream
  }
}
