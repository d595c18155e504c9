import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import type { ServiceError } from '#errors'
import { watchAnnounced } from '#function/announced-bytes'
import { endAnswer, hasBody, isArriving } from '#function/end-answer'
import { endOfTurn } from '#function/end-of-turn'
import { expectsContinue } from '#function/read-body'
import { type Exchange, originForm } from './exchange.ts'
import { brokenAnswer, lateAnswer, lateBody, misdirected, ownError, unreachable, upstreamsFull } from './failures.ts'
import { dispatchHeadFirst, type HeadFirstRequest } from './head-first.ts'
import { clientHeaders, upstreamHeaders } from './headers.ts'
import type { Upstream } from './origin.ts'
import { ForwardedBody, isRepeatable, RequestBody, tooLarge } from './request-body.ts'
import type { RouteEntry } from './route.ts'
import { noteAnswer, type Rotation, skipForAMoment } from './upstreams.ts'

/** First try and one more: a third would double the load of an outage and help in almost none. */
const TRIES_MAX = 2
/** RFC 9110, 15.5.20: the request has reached somebody for whom it is not meant. */
const MISDIRECTED = 421
/** A client that takes nothing for so long is gone in all but name, and holds one of the upstream's sockets. */
const CLIENT_STALL_MS_MAX = 60_000

/**
 * Answers exchanges by forwarding them to the upstreams in turn. A small body is collected before it takes a connection, unless it is
 * slow; a slow or large one is asked for by its head, and streamed on a connection of its own. Answers are streamed.
 */
export function forwardTo(rotation: Rotation, entry: RouteEntry): (exchange: Exchange) => void {
  return (exchange) => new Forwarding(exchange, entry, rotation).start()
}

/**
 * `waiting`: nothing has been sent. `sent`: the upstream may have acted on the request. `answering`: the client has the
 * answer's head. `settled`: the exchange is over, and whatever undici still reports is late.
 */
type State = 'waiting' | 'sent' | 'answering' | 'settled'

class Forwarding implements Dispatcher.DispatchHandler {
  readonly #exchange: Exchange
  readonly #entry: RouteEntry
  readonly #rotation: Rotation
  readonly #body: ForwardedBody
  #state: State = 'waiting'
  #tries = 0
  /** Judged by what has been sent, which is not all that came. */
  #isRepeatable = false
  /** Tries in which an upstream may have acted on the request: after one, no answer may say that nothing was done. */
  #sent = 0
  #upstream: Upstream | undefined
  #isStreamed = false
  #controller: Dispatcher.DispatchController | undefined
  #timer: NodeJS.Timeout | undefined
  #unwatch = () => {}

  constructor(exchange: Exchange, entry: RouteEntry, rotation: Rotation) {
    this.#exchange = exchange
    this.#entry = entry
    this.#rotation = rotation
    this.#body = new ForwardedBody(exchange.req, entry.maxBodyBytes, () => this.#timer?.refresh())
  }

  start(): void {
    const { req, res } = this.#exchange
    res.on('close', () => this.#clientLeft())
    res.on('drain', () => this.#clientCaughtUp())
    const { maxBodyBytes } = this.#entry
    this.#unwatch = watchAnnounced(req, maxBodyBytes, () => this.#refuse(tooLarge(maxBodyBytes)))
    if (!hasBody(req)) this.#send()
    // What came with the head has been parsed by then: nearly always all of it.
    else
      endOfTurn()
        .then(() => this.#receive())
        .catch(this.#exchange.fail)
  }

  /** What the client is still sending. */
  #refuse(failure: ServiceError): void {
    if (this.#state === 'settled') return
    this.#fail(failure)
    this.#controller?.abort(failure)
  }

  #receive(): void {
    if (this.#state === 'waiting') this.#body.arrive(this.#arrived)
  }

  readonly #arrived = (fault?: ServiceError): void => {
    if (fault) this.#fail(fault)
    else this.#send()
  }

  #send(): void {
    this.#allow(this.#entry.timeoutMs)
    this.#begin()
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#state === 'settled') {
      controller.abort(new Error('The exchange ended while it was queued'))
      return
    }
    this.#state = 'sent'
    this.#sent += 1
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status === 100) this.#invite()
    // Interim answers (1xx) concern this connection; the final one follows.
    if (status < 200) return
    if (status === MISDIRECTED) {
      // Somebody else has the address by now. Nothing was done, so it is as if there had been no connection.
      this.#state = 'waiting'
      this.#sent -= 1
      controller.abort(misdirected())
      return
    }
    if (this.#upstream) noteAnswer(this.#upstream, status, headers.connection)
    const { res, requestId } = this.#exchange
    const raw = Array.isArray(controller.rawHeaders) ? controller.rawHeaders : []
    res.writeHead(status, clientHeaders(raw, requestId))
    this.#state = 'answering'
    this.#timer?.refresh()
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#exchange.res.write(chunk)) {
      this.#timer?.refresh()
      return
    }
    controller.pause()
    this.#allow(CLIENT_STALL_MS_MAX)
  }

  onResponseEnd(): void {
    this.#endTry()
    this.#settle()
    // A function may answer before it has read all, with 401 for one.
    endAnswer(this.#exchange.req, this.#exchange.res)
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    const upstream = this.#endTry()
    if (this.#state === 'settled') return
    const own = ownError(error)
    const refused = !own && this.#state === 'waiting' ? upstream : undefined
    if (refused) skipForAMoment(refused)
    if (!own && this.#tries < TRIES_MAX && this.#canRepeat()) {
      this.#state = 'waiting'
      this.#begin(upstream, refused)
      return
    }
    this.#fail(own ?? (this.#sent > 0 ? brokenAnswer(error) : unreachable(error)))
  }

  /** Tries at once, without a promise, where it is known who there is to try. */
  #begin(except?: Upstream, refused?: Upstream): void {
    const lookup = this.#rotation.prepare(refused)
    if (lookup) lookup.then(() => this.#state === 'waiting' && this.#try(except)).catch(this.#exchange.fail)
    else this.#try(except)
  }

  #try(except: Upstream | undefined): void {
    const { req } = this.#exchange
    const upstream = this.#rotation.next(except)
    if (!upstream) {
      const missing = this.#rotation.missing()
      const failure = missing ? unreachable(missing) : upstreamsFull()
      this.#fail(this.#sent > 0 ? brokenAnswer(failure) : failure)
      return
    }
    const body = this.#body.next()
    const isStreamed = body instanceof RequestBody
    if (isStreamed && !upstream.streams.take(req.headers.authorization, 1)) {
      this.#waitWithoutConnection()
      return
    }
    this.#tries += 1
    this.#upstream = upstream
    this.#isStreamed = isStreamed
    this.#controller = undefined
    upstream.inFlight += 1
    const headers = upstreamHeaders(this.#exchange, this.#entry.name)
    this.#isRepeatable = isRepeatable(req.method, headers)
    const request = { method: req.method ?? 'GET', path: originForm(req.url ?? '/'), headers, body }
    if (isStreamed) {
      this.#stream({ ...request, headers: ['host', upstream.host, ...headers], body }, upstream)
      return
    }
    // `reset: false` keeps the socket after a HEAD, which undici would close for the sake of servers that send a body to it.
    upstream.pool.dispatch({ ...request, reset: false } as Dispatcher.DispatchOptions, this)
  }

  #stream(request: HeadFirstRequest, upstream: Upstream): void {
    try {
      dispatchHeadFirst(upstream.connect, request, this)
    } catch (error) {
      // undici tells of this as of every failure.
      this.onResponseError(undefined, error as Error)
    }
  }

  /** As many others are sending slowly as may: a small body can still be waited for here, a large one can not. */
  #waitWithoutConnection(): void {
    clearTimeout(this.#timer)
    if (this.#body.isSmall()) this.#body.complete(this.#arrived)
    else this.#fail(upstreamsFull())
  }

  /** The upstream wants the body: only now is a client that waits for that told. */
  #invite(): void {
    const { req, res } = this.#exchange
    if (expectsContinue(req)) res.writeContinue()
    this.#timer?.refresh()
  }

  /** A request can go out again if nothing was done with it, or if it may be done again; and if its body is at hand. */
  #canRepeat(): boolean {
    const mayRepeat = this.#state === 'waiting' || (this.#state === 'sent' && this.#isRepeatable)
    return mayRepeat && this.#body.isAtHand()
  }

  #endTry(): Upstream | undefined {
    const upstream = this.#upstream
    this.#upstream = undefined
    if (upstream) upstream.inFlight -= 1
    if (this.#isStreamed) upstream?.streams.giveBack(this.#exchange.req.headers.authorization, 1)
    return upstream
  }

  #fail(failure: ServiceError): void {
    this.#settle()
    this.#exchange.fail(failure)
  }

  #settle(): void {
    this.#state = 'settled'
    this.#body.stop()
    this.#unwatch()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Each chunk that moves starts this limit again: a slow client must not be blamed on the function, nor a long answer cut. */
  #allow(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#timedOut(), ms)
  }

  #timedOut(): void {
    if (this.#controller?.paused) {
      // It waits for the client, not for the function; closing the answer ends the rest as if the client had left.
      this.#exchange.res.destroy()
      return
    }
    const isClientLate = this.#body.isBegun() && isArriving(this.#exchange.req)
    // A function answers by itself before this; one that has the whole request and doesn't is stopped, or hangs.
    if (this.#state !== 'waiting' && this.#upstream && !isClientLate) skipForAMoment(this.#upstream)
    const silence = isClientLate ? lateBody() : lateAnswer(this.#entry)
    const failure = this.#sent > 0 ? silence : unreachable('no connection in time')
    this.#fail(failure)
    this.#controller?.abort(failure)
  }

  #clientLeft(): void {
    if (this.#state === 'settled') return
    this.#settle()
    this.#controller?.abort(new Error('The client closed the connection'))
  }

  #clientCaughtUp(): void {
    if (this.#state !== 'answering') return
    this.#allow(this.#entry.timeoutMs)
    this.#controller?.resume()
  }
}
