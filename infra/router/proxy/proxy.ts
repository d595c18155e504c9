import type { ServiceError } from '#errors'
import { watchAnnounced } from '#function/announced-bytes'
import { endAnswer, hasBody, isArriving } from '#function/end-answer'
import { endOfTurn } from '#function/end-of-turn'
import { expectsContinue } from '#function/read-body'
import type { Exchange } from '../exchange.ts'
import type { RouteEntry } from '../route.ts'
import type { Rotation } from '../upstreams/upstreams.ts'
import { brokenAnswer, lateAnswer, lateBody, unreachable, upstreamsFull } from './failures.ts'
import { clientHeaders } from './headers.ts'
import { ForwardedBody, tooLarge } from './request-body.ts'
import { type AnswerHandler, Sending } from './sending.ts'

/** A client that reads nothing for this long counts as gone. Until then it holds one of the upstream's sockets. */
const CLIENT_STALL_MS_MAX = 60_000

/**
 * Answers exchanges by forwarding them to one of the upstreams. A small body is collected before it takes a connection. A slow or large
 * body is streamed on its own connection, once the upstream has accepted the head. Answers are streamed, except those that `amend`
 * changes.
 */
export function forwardTo(rotation: Rotation, entry: RouteEntry, amend?: Amend): (exchange: Exchange) => void {
  return (exchange) => new Forwarding(exchange, entry, rotation, amend).start()
}

/** Makes the body for the client from the upstream's body, for answers with status 200. */
export type Amend = (body: Buffer) => Promise<Buffer>

/** An answer that will be amended is kept until it is complete. The largest is that of list-functions, some 30 KB. */
const AMENDED_BYTES_MAX = 1024 * 1024

/** The client's side of an exchange: its body, its answer, and how long each may take. */
class Forwarding implements AnswerHandler {
  readonly #exchange: Exchange
  readonly #entry: RouteEntry
  readonly #body: ForwardedBody
  readonly #sending: Sending
  readonly #amend: Amend | undefined
  /** An answer that will be amended. */
  #kept: { headers: string[]; chunks: Buffer[]; length: number } | undefined
  /** The exchange is over. */
  #isSettled = false
  #timer: NodeJS.Timeout | undefined
  #unwatch = () => {}

  constructor(exchange: Exchange, entry: RouteEntry, rotation: Rotation, amend: Amend | undefined) {
    this.#exchange = exchange
    this.#amend = amend
    this.#entry = entry
    this.#body = new ForwardedBody(exchange.req, entry.maxBodyBytes, () => this.#timer?.refresh())
    this.#sending = new Sending(exchange, entry, rotation, this.#body, this)
  }

  start(): void {
    const { req, res } = this.#exchange
    res.on('close', () => this.#clientLeft())
    res.on('drain', () => this.#clientCaughtUp())
    const { maxBodyBytes } = this.#entry
    this.#unwatch = watchAnnounced(req, maxBodyBytes, () => this.#refuse(tooLarge(maxBodyBytes)))
    if (!hasBody(req)) this.#send()
    // At the end of this turn of the event loop, the data that came with the head has been parsed: nearly always the whole body.
    else
      endOfTurn()
        .then(() => this.#receive())
        .catch(this.#exchange.fail)
  }

  onContinue(): void {
    const { req, res } = this.#exchange
    if (expectsContinue(req)) res.writeContinue()
    this.#timer?.refresh()
  }

  onHead(status: number, rawHeaders: readonly (Buffer | string)[]): void {
    const { res, requestId } = this.#exchange
    const headers = clientHeaders(rawHeaders, requestId)
    if (this.#amend && status === 200) this.#kept = { headers, chunks: [], length: 0 }
    else res.writeHead(status, headers)
    this.#timer?.refresh()
  }

  onChunk(chunk: Buffer): boolean {
    if (this.#kept) return this.#keep(this.#kept, chunk)
    const isTaken = this.#exchange.res.write(chunk)
    if (isTaken) this.#timer?.refresh()
    else this.#allow(CLIENT_STALL_MS_MAX)
    return isTaken
  }

  onEnd(): void {
    this.#settle()
    if (this.#kept && this.#amend) {
      this.#answerAmended(this.#kept, this.#amend).catch((error) => this.#exchange.fail(brokenAnswer(error)))
      return
    }
    // A function may answer before it has read the whole body, for example with 401.
    endAnswer(this.#exchange.req, this.#exchange.res)
  }

  onFailure(failure: ServiceError): void {
    this.#fail(failure)
  }

  /** All connections for streams are in use. A small body can still be collected here; a large one cannot. */
  onNoStream(): void {
    clearTimeout(this.#timer)
    if (this.#body.isSmall()) this.#body.complete(this.#arrived)
    else this.#fail(upstreamsFull())
  }

  #keep(kept: { chunks: Buffer[]; length: number }, chunk: Buffer): boolean {
    kept.length += chunk.length
    if (kept.length > AMENDED_BYTES_MAX) this.#refuse(brokenAnswer('the answer is too large to be amended'))
    else kept.chunks.push(chunk)
    return true
  }

  async #answerAmended({ headers, chunks }: { headers: string[]; chunks: Buffer[] }, amend: Amend): Promise<void> {
    const { req, res } = this.#exchange
    const body = req.method === 'HEAD' ? undefined : await amend(Buffer.concat(chunks))
    const others = headers.filter((_, at) => headers[at - (at % 2)]?.toLowerCase() !== 'content-length')
    res.writeHead(200, body ? [...others, 'content-length', String(body.length)] : others)
    res.end(body)
  }

  #receive(): void {
    if (!this.#isSettled) this.#body.arrive(this.#arrived)
  }

  readonly #arrived = (fault?: ServiceError): void => {
    if (fault) this.#fail(fault)
    else this.#send()
  }

  #send(): void {
    this.#allow(this.#entry.timeoutMs)
    this.#sending.start()
  }

  /** Ends the exchange while the client is still sending. */
  #refuse(failure: ServiceError): void {
    if (this.#isSettled) return
    this.#fail(failure)
    this.#sending.abort(failure)
  }

  #fail(failure: ServiceError): void {
    this.#settle()
    this.#exchange.fail(failure)
  }

  #settle(): void {
    this.#isSettled = true
    this.#sending.stop()
    this.#body.stop()
    this.#unwatch()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Each chunk, in either direction, restarts the time limit: the function is not blamed for a slow client, and a long answer is not cut. */
  #allow(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#timedOut(), ms)
  }

  #timedOut(): void {
    if (this.#sending.isPaused) {
      // The client is late, not the function. Closing the answer ends everything else as if the client had disconnected.
      this.#exchange.res.destroy()
      return
    }
    const isClientLate = this.#body.isBegun() && isArriving(this.#exchange.req)
    // A function's own limit is shorter. A function that has the whole request and is still silent is paused or hangs.
    if (!isClientLate) this.#sending.blameUpstream()
    const silence = isClientLate ? lateBody() : lateAnswer(this.#entry)
    const failure = this.#sending.hasBeenSent ? silence : unreachable('no connection in time')
    this.#fail(failure)
    this.#sending.abort(failure)
  }

  #clientLeft(): void {
    if (this.#isSettled) return
    this.#settle()
    this.#sending.abort(new Error('The client closed the connection'))
  }

  #clientCaughtUp(): void {
    if (!this.#sending.isAnswering) return
    this.#allow(this.#entry.timeoutMs)
    this.#sending.resume()
  }
}
