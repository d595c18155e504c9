import type { HttpBindings } from '@hono/node-server'
import { overloaded } from '#errors'

/** Smaller answers are not counted: as many of them as there may be connections take 160 MB. */
const LARGE_MIN = 16 * 1024
/** Bytes of large answers that clients have not read yet: 64 full pages, a third of a function's container. */
const UNSENT_MAX = 64 * 1024 * 1024

let unsent = 0

/**
 * Counts an answer of `length` until its client has read it or is gone. Throws `overloaded` if too much is already unread, but only for reads: a
 * write has been done, and gets its answer.
 */
export function countUnsent(length: number, { incoming, outgoing }: Partial<HttpBindings>): void {
  // A client that is already gone emits no `close`.
  if (length < LARGE_MIN || !outgoing || outgoing.destroyed) return
  if (unsent + length > UNSENT_MAX && incoming?.method === 'GET') {
    const detail = 'Too much that was asked for has not been taken by its clients. Try again shortly.'
    throw overloaded(detail)
  }
  unsent += length
  outgoing.once('close', () => {
    unsent -= length
  })
}
