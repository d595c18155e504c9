import { LRUCache } from 'lru-cache'

/** Requests in a row that a receiver leaves without an answer before it is left in peace. */
const SILENT_MAX = 3
/** Longer than what a request is given, so that of the places for deliveries a silent receiver takes less than one. */
const PAUSE_MS = 30_000

/** By webhook. There are no more than a hundred at a time, but deleted ones stay for a while. */
const silences = new LRUCache<string, { requests: number; pausedUntil: number }>({ max: 1_000 })

/**
 * Whether to send a request to a webhook: not while it is paused, and then one may see whether it answers again. Each request
 * without an answer takes a place for 15 s that deliveries to the others wait for.
 */
export function mayBeAsked(webhookId: string): boolean {
  const silence = silences.get(webhookId)
  const now = performance.now()
  if (!silence || silence.requests < SILENT_MAX) return true
  if (now < silence.pausedUntil) return false
  silence.pausedUntil = now + PAUSE_MS
  return true
}

/** To be told of each request, whether or not it was answered. */
export function noteAnswer(webhookId: string, isAnswered: boolean): void {
  if (isAnswered) silences.delete(webhookId)
  else {
    const requests = (silences.get(webhookId)?.requests ?? 0) + 1
    silences.set(webhookId, { requests, pausedUntil: performance.now() + PAUSE_MS })
  }
}
