import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { ServiceError } from '#errors'
import { hasBody } from '#function/end-answer'

/** A body up to this is kept until its answer comes: larger than nearly any write but an import, and times 1,024 no more than 64 MiB. */
const KEPT_BYTES_MAX = 64 * 1024

export function tooLarge(bytesMax: number): ServiceError {
  return new ServiceError('too_large', `The body may have at most ${bytesMax} bytes.`)
}

/**
 * Whether a request may be sent again though somebody may have acted on it: it asks for nothing to be done (RFC 9110, 9.2.2), or
 * it bears a key under which it is done once, and the second to do it gives the first answer. `headers`: those that are sent on.
 */
export function isRepeatable(method: string | undefined, headers: readonly string[]): boolean {
  if (method === 'GET' || method === 'HEAD') return true
  if (method !== 'POST' && method !== 'PATCH') return false
  return headers.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'idempotency-key')
}

/** What is sent of a request's body, in one try after another. */
export class ForwardedBody {
  readonly #source: IncomingMessage
  readonly #bytesMax: number
  readonly #onChunk: () => void
  #stream: RequestBody | undefined

  constructor(source: IncomingMessage, bytesMax: number, onChunk: () => void) {
    this.#source = source
    this.#bytesMax = bytesMax
    this.#onChunk = onChunk
  }

  /** Whether there is another try in it: nothing of it has been read yet, or all of it was kept. */
  isAtHand(): boolean {
    return this.#stream === undefined || !this.#stream.isTouched() || this.#stream.whole() !== undefined
  }

  next(): RequestBody | Buffer | null {
    if (!hasBody(this.#source)) return null
    const whole = this.#stream?.whole()
    if (whole) return whole
    this.#stream = new RequestBody(this.#source, this.#bytesMax, this.#onChunk)
    return this.#stream
  }
}

/**
 * A request's body as a stream of its own: it passes chunks on under backpressure, counts them, and fails with `too_large` past
 * the limit. It stands between the request and undici because undici destroys the body it was given when an exchange fails,
 * and a destroyed IncomingMessage can't be emptied any more, so the answer to it could be lost. Nothing is read from the
 * request before the first read from this stream. A small body is kept besides.
 */
class RequestBody extends Readable {
  readonly #source: IncomingMessage
  readonly #bytesMax: number
  readonly #onChunk: () => void
  readonly #kept: Buffer[] | undefined
  #bytes = 0
  #attached = false

  constructor(source: IncomingMessage, bytesMax: number, onChunk: () => void) {
    super()
    this.#source = source
    this.#bytesMax = bytesMax
    this.#onChunk = onChunk
    // Without a length there is no telling whether it will be small.
    const length = Number(source.headers['content-length'] ?? Number.POSITIVE_INFINITY)
    if (length <= KEPT_BYTES_MAX) this.#kept = []
  }

  isTouched(): boolean {
    return this.#attached
  }

  /** All of it, if it has come and was kept. */
  whole(): Buffer | undefined {
    const isWhole = this.#bytes === Number(this.#source.headers['content-length'])
    return this.#kept && isWhole ? Buffer.concat(this.#kept) : undefined
  }

  override _read(): void {
    if (!this.#attached) {
      this.#attached = true
      this.#source.on('data', this.#pass).on('end', this.#end)
    }
    this.#source.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#source.off('data', this.#pass).off('end', this.#end)
    callback(error)
  }

  readonly #pass = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    this.#kept?.push(chunk)
    this.#onChunk()
    if (this.#bytes > this.#bytesMax) this.destroy(tooLarge(this.#bytesMax))
    else if (!this.push(chunk)) this.#source.pause()
  }

  readonly #end = (): void => {
    this.push(null)
  }
}
