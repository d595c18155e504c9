import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { HttpBindings } from '@hono/node-server'
import { createShares } from '#async'
import { overloaded, ServiceError } from '#errors'
import { watchAnnounced } from '../host/announced-bytes.ts'
import { endOfTurn } from './end-of-turn.ts'

/** Where a body comes from, and its bounds. */
export interface BodySource {
  request: Request
  /** Set if the request came over HTTP: then the bytes are read from the socket, without a web stream in between. */
  http: Partial<HttpBindings> | undefined
  /** The key whose share of the memory the body takes; undefined for a body from a trigger. */
  apiKeyId: string | undefined
  bytesMax: number
}

export interface Body {
  /** At least one. */
  blocks: Uint8Array[]
  /** Call it once, when the work is over. */
  release: () => void
}

/** A client that sends nothing for this long is gone, or holds its connection on purpose. */
export const SILENCE_MS_MAX = 5_000
/** The lowest accepted rate: at 300 kB/s, a poor mobile link, the largest import (32 MiB) arrives in 112 s. */
const SLOWEST_BYTES_PER_MS = 300
/** The time that any body may take in addition. */
export const PATIENCE_MS = 10_000
/** For all bodies of a process that are being received or worked on: four of the largest imports. */
const MEMORY_BYTES_MAX = 4 * 32 * 1024 * 1024
const memory = createShares(MEMORY_BYTES_MAX)

/** Most bodies fit into the first block. */
const FIRST_BLOCK_BYTES = 16 * 1024
const BLOCK_BYTES = 256 * 1024

/**
 * Reads a body to its end, into blocks of up to 256 KiB, since chunks of one byte each would take many times their size. Throws `too_large` past
 * its bound, or as soon as a chunk past it is announced; `request_timeout` for a body that stops or is too slow; `overloaded` if the process holds
 * as many bytes of bodies as it may; `client_closed_request` if the client disconnects.
 */
export async function readBody(from: BodySource): Promise<Body> {
  // By the end of the turn, everything that came with the head has been parsed.
  await endOfTurn()
  return takeWhole(from) ?? readAsItComes(from)
}

/** A body that has already arrived, like nearly all bodies: waiting for it would double the cost of reading it. */
function takeWhole({ http, apiKeyId, bytesMax }: BodySource): Body | undefined {
  const incoming = http?.incoming
  if (!incoming?.complete || incoming.destroyed || incoming.readableLength > bytesMax) return undefined
  const { readableLength: bytes } = incoming
  if (bytes === 0) return undefined
  if (!memory.take(apiKeyId, bytes)) throw outOfMemory()
  return { blocks: [incoming.read()], release: () => memory.giveBack(apiKeyId, bytes) }
}

function readAsItComes(from: BodySource): Promise<Body> {
  const source = from.http?.incoming ?? streamOf(from.request)
  const collected = collector(from)
  invite(from)
  return new Promise((resolve, reject) => {
    const startedAt = performance.now()
    const durationMs = PATIENCE_MS + from.bytesMax / SLOWEST_BYTES_PER_MS
    const timer = setTimeout(() => fail(tooSlow()), SILENCE_MS_MAX)
    let unwatch = () => {}
    const end = () => {
      clearTimeout(timer)
      unwatch()
      source.off('data', add).off('end', finish).off('error', breakOff).off('close', breakOff)
    }
    const fail = (error: ServiceError) => {
      end()
      collected.release()
      reject(error)
    }
    const add = (chunk: Uint8Array) => {
      const fault = performance.now() - startedAt > durationMs ? tooSlow() : collected.add(chunk)
      if (fault) fail(fault)
      else timer.refresh()
    }
    const finish = () => {
      end()
      resolve({ blocks: collected.blocks(), release: collected.release })
    }
    const breakOff = (cause?: unknown) => fail(brokenOff(cause))
    source.on('data', add).once('end', finish).on('error', breakOff).once('close', breakOff)
    unwatch = watchAnnounced(source, from.bytesMax, () => fail(tooLarge(from.bytesMax)))
    // The body may have broken off before the listeners were added.
    if (source.destroyed && !source.readableEnded) breakOff()
  })
}

/** Sends `100 Continue` to a client that waits for it: only now has the head been accepted. */
function invite({ http }: BodySource): void {
  if (http?.incoming && expectsContinue(http.incoming)) http.outgoing?.writeContinue()
}

function streamOf({ body }: Request): Readable {
  return body ? Readable.fromWeb(body as ReadableStream) : Readable.from([])
}

/** Whether the client waits for an interim answer, which HTTP/1.0 does not have: https://www.rfc-editor.org/rfc/rfc9110#name-expect */
export function expectsContinue({ headers, httpVersionMinor }: IncomingMessage): boolean {
  return httpVersionMinor > 0 && headers.expect !== undefined
}

function collector({ apiKeyId, bytesMax }: BodySource) {
  const blocks: Uint8Array[] = []
  let first: Uint8Array | undefined
  let block = Buffer.alloc(0)
  let filled = 0
  let size = 0
  let taken = 0
  const take = (bytes: number) => {
    if (!memory.take(apiKeyId, bytes)) return false
    taken += bytes
    return true
  }
  const copy = (chunk: Uint8Array): boolean => {
    for (let copied = 0; copied < chunk.length; ) {
      if (filled === block.length) {
        const bytes = blocks.length === 0 ? FIRST_BLOCK_BYTES : BLOCK_BYTES
        if (!take(bytes)) return false
        block = Buffer.allocUnsafe(bytes)
        blocks.push(block)
        filled = 0
      }
      const part = chunk.subarray(copied, copied + block.length - filled)
      block.set(part, filled)
      filled += part.length
      copied += part.length
    }
    return true
  }
  return {
    /** Returns the error if this chunk is too much. */
    add(chunk: Uint8Array): ServiceError | undefined {
      size += chunk.length
      if (size > bytesMax) return tooLarge(bytesMax)
      if (size === chunk.length) {
        first = chunk
        return take(chunk.length) ? undefined : outOfMemory()
      }
      const before = first ?? Buffer.alloc(0)
      first = undefined
      return copy(before) && copy(chunk) ? undefined : outOfMemory()
    },
    blocks: () => (first ? [first] : [...blocks.slice(0, -1), block.subarray(0, filled)]),
    release() {
      memory.giveBack(apiKeyId, taken)
      taken = 0
    },
  }
}

export function tooLarge(bytesMax: number): ServiceError {
  return new ServiceError('too_large', `The body is larger than ${bytesMax} bytes.`)
}

function tooSlow(): ServiceError {
  return new ServiceError('request_timeout', 'The body did not arrive in time. Nothing was done.')
}

function outOfMemory(): ServiceError {
  const detail = 'Too much is being sent to this process, or by this API key. Nothing was done. Try again shortly.'
  return overloaded(detail)
}

/** The client disconnected in the middle of the body. */
function brokenOff(cause?: unknown): ServiceError {
  return new ServiceError('client_closed_request', 'The client went away in the middle of the body.', { cause })
}
