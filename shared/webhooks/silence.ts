import { LRUCache } from 'lru-cache'

/** Requests in a row that a receiver leaves without an answer before it is left in peace. */
const SILENT_MAX = 3
/** Longer than what a request is given, so that of the places for deliveries a silent receiver takes less than one. */
const PAUSE_MS = 30_000

/** By receiver: a webhook, and the URL that it leads to. There are no more than a hundred at a time, but deleted ones stay for a while. */
const silences = new LRUCache<string, { requests: number; pausedUntil: number }>({ max: 1_000 })

/** A webhook that is mended leads to another receiver, which has not been silent. */
export function receiverOf({ id, url }: { id: string; url: string }): string {
  return `${id} ${url}`
}

/**
 * Whether to send a request to a receiver: not while it is paused, and then one may see whether it answers again. Each request
 * without an answer takes a place for 15 s that deliveries to the others wait for.
 */
export function mayBeAsked(receiver: string): boolean {
  const silence = silences.get(receiver)
  const now = performance.now()
  if (!silence || silence.requests < SILENT_MAX) return true
  if (now < silence.pausedUntil) return false
  silence.pausedUntil = now + PAUSE_MS
  return true
}

/** To be told of each request, whether or not it was answered. */
export function noteAnswer(receiver: string, isAnswered: boolean): void {
  if (isAnswered) silences.delete(receiver)
  else {
    const requests = (silences.get(receiver)?.requests ?? 0) + 1
    silences.set(receiver, { requests, pausedUntil: performance.now() + PAUSE_MS })
  }
}
