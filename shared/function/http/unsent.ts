import type { HttpBindings } from '@hono/node-server'
import { overloaded } from '#errors'

/** Answers below this are too small to matter: as many as there may be connections are 160 MB. */
const LARGE_MIN = 16 * 1024
/** Of large answers, what clients have not yet taken: 64 full pages, a third of a function's container. */
const UNSENT_MAX = 64 * 1024 * 1024

let unsent = 0

/**
 * Counts an answer of `length` until its client has taken it, or is gone. Throws `overloaded` where too much waits already: but not for
 * what has changed something, since that is done.
 */
export function countUnsent(length: number, { incoming, outgoing }: Partial<HttpBindings>): void {
  // Of one that has gone already there is no `close` to come.
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
