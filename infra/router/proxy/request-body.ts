import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { createShares } from '#async'
import { ServiceError } from '#errors'
import { hasBody } from '#function/end-answer'
import { expectsContinue, PATIENCE_MS, SILENCE_MS_MAX } from '#function/read-body'
import { lateBody } from './failures.ts'

/** A body up to this size is collected before it is sent, and kept until its answer comes. Nearly all bodies except imports are smaller. */
const SMALL_BYTES_MAX = 64 * 1024
/** How many bodies may be collected at the same time: 64 MiB at most. */
const COLLECTED_MAX = 1_024
const collected = createShares(COLLECTED_MAX)
/** How long to wait for a small body: one delayed acknowledgement (40 ms) and a round trip. */
const MOMENT_MS = 100

export function tooLarge(bytesMax: number): ServiceError {
  return new ServiceError('too_large', `The body may have at most ${bytesMax} bytes.`)
}

/**
 * Whether a request may be sent again although an upstream may have acted on it. It may if it is safe (RFC 9110, 9.2.1), or if it has an
 * idempotency key, so that the second try gets the answer of the first. `headers` are the forwarded headers.
 */
export function isRepeatable(method: string | undefined, headers: readonly string[]): boolean {
  if (method === 'GET' || method === 'HEAD') return true
  if (method !== 'POST' && method !== 'PATCH') return false
  return headers.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'idempotency-key')
}

/** Called when the wait for a body is over, with the error if there is one. */
type Ready = (fault?: ServiceError) => void

/** A request's body as each try sends it: a small body as a whole, any other as a stream. */
export class ForwardedBody {
  readonly #source: IncomingMessage
  readonly #bytesMax: number
  readonly #onChunk: () => void
  #whole: Buffer | undefined
  #stream: RequestBody | undefined
  #isSmall: boolean
  #stop = () => {}

  constructor(source: IncomingMessage, bytesMax: number, onChunk: () => void) {
    this.#source = source
    this.#bytesMax = bytesMax
    this.#onChunk = onChunk
    this.#isSmall = Number(source.headers['content-length'] ?? 0) <= SMALL_BYTES_MAX && !expectsContinue(source)
  }

  /** Waits for a small body, for at most 100 ms. Call it once the data that came with the head has been parsed. */
  arrive(ready: Ready): void {
    const { complete, readableLength } = this.#source
    if (complete && readableLength > this.#bytesMax) ready(tooLarge(this.#bytesMax))
    else if (complete && readableLength <= SMALL_BYTES_MAX) {
      this.#whole = this.#source.read() ?? Buffer.alloc(0)
      ready()
    } else if (complete) {
      // The buffered share of a large body differs between versions of Node, so a large body is always streamed.
      this.#isSmall = false
      ready()
    } else if (this.#isSmall) this.#collect(MOMENT_MS, MOMENT_MS, ready)
    else ready()
  }

  /** Waits for a small body to be complete, for as long as a function would. */
  complete(ready: Ready): void {
    this.#collect(SILENCE_MS_MAX, PATIENCE_MS, (fault) => {
      ready(fault ?? (this.#isSmall && !this.#whole ? lateBody() : undefined))
    })
  }

  /** Whether the body can be collected. */
  isSmall(): boolean {
    return this.#isSmall
  }

  /** Whether another try can send the body: no byte of it has been streamed yet. */
  isAtHand(): boolean {
    return this.#whole !== undefined || !this.isBegun()
  }

  /** Whether streaming has begun. */
  isBegun(): boolean {
    return this.#stream?.isTouched() === true
  }

  next(): RequestBody | Buffer | null {
    if (!hasBody(this.#source)) return null
    if (this.#whole) return this.#whole
    this.#stream = new RequestBody(this.#source, this.#bytesMax, this.#onChunk)
    return this.#stream
  }

  /** Ends the wait, if there is one. */
  stop(): void {
    this.#stop()
  }

  /** Gives up on a body that is silent for `silenceMs`, takes longer than `durationMs`, or is large. What has arrived is put back. */
  #collect(silenceMs: number, durationMs: number, ready: Ready): void {
    const source = this.#source
    const { authorization } = source.headers
    if (!collected.take(authorization, 1)) {
      this.#isSmall = false
      ready()
      return
    }
    const startedAt = performance.now()
    let block = Buffer.alloc(0)
    let size = 0
    const add = (chunk: Buffer) => {
      const sum = size + chunk.length
      if (sum > this.#bytesMax) giveUp(chunk, tooLarge(this.#bytesMax))
      else if (sum > SMALL_BYTES_MAX) {
        this.#isSmall = false
        giveUp(chunk)
      } else {
        // Copied into one block, since chunks of one byte each would take many times their size in memory.
        if (sum > block.length) block = Buffer.concat([block], Math.min(2 * sum, SMALL_BYTES_MAX))
        size += chunk.copy(block, size)
        if (performance.now() - startedAt > durationMs) giveUp()
        else timer.refresh()
      }
    }
    const giveUp = (rest?: Buffer, fault?: ServiceError) => {
      this.#stop()
      source.pause()
      if (rest) source.unshift(rest)
      if (size > 0) source.unshift(block.subarray(0, size))
      ready(fault)
    }
    const finish = () => {
      this.#stop()
      this.#whole = block.subarray(0, size)
      ready()
    }
    const timer = setTimeout(giveUp, silenceMs)
    this.#stop = () => {
      clearTimeout(timer)
      source.off('data', add).off('end', finish)
      collected.giveBack(authorization, 1)
      this.#stop = () => {}
    }
    source.on('data', add).once('end', finish).resume()
  }
}

/**
 * A request's body as a separate stream: it passes chunks on under backpressure, counts them, and fails with `too_large` past the
 * limit. undici destroys the body of a failed request. A destroyed IncomingMessage can't be drained, so its answer could be lost; this
 * stream is destroyed instead. It reads nothing from the request before its own first read.
 */
export class RequestBody extends Readable {
  readonly #source: IncomingMessage
  readonly #bytesMax: number
  readonly #onChunk: () => void
  #bytes = 0
  #attached = false

  constructor(source: IncomingMessage, bytesMax: number, onChunk: () => void) {
    super()
    this.#source = source
    this.#bytesMax = bytesMax
    this.#onChunk = onChunk
  }

  isTouched(): boolean {
    return this.#attached
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
    this.#onChunk()
    if (this.#bytes > this.#bytesMax) this.destroy(tooLarge(this.#bytesMax))
    else if (!this.push(chunk)) this.#source.pause()
  }

  readonly #end = (): void => {
    this.push(null)
  }
}
