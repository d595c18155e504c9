import { LRUCache } from 'lru-cache'

/** Requests in a row without an answer that open the breaker. */
const FAILURES_MAX = 3
/** Longer than a request may take, so that a silent receiver takes up less than one of the places for deliveries. */
const OPEN_MS = 30_000

/** The breakers, by receiver. There are at most a hundred webhooks; the breakers of deleted ones stay until they are evicted. */
const breakers = new LRUCache<string, { failures: number; openUntil: number }>({ max: 1_000 })

/** The name of a receiver. A webhook with another URL has another receiver, whose breaker is closed. */
export function receiverOf({ id, url }: { id: string; url: string }): string {
  return `${id} ${url}`
}

/**
 * Whether a receiver's circuit breaker lets a request through: always while it is closed, and one request every 30 s while it is open. A request
 * without an answer takes up, for 15 s, a place for which deliveries to other receivers wait.
 */
export function isClosed(receiver: string): boolean {
  const breaker = breakers.get(receiver)
  const now = performance.now()
  if (!breaker || breaker.failures < FAILURES_MAX) return true
  if (now < breaker.openUntil) return false
  breaker.openUntil = now + OPEN_MS
  return true
}

/** Call it after each request. Any answer closes the breaker. */
export function recordRequest(receiver: string, isAnswered: boolean): void {
  if (isAnswered) breakers.delete(receiver)
  else {
    const failures = (breakers.get(receiver)?.failures ?? 0) + 1
    breakers.set(receiver, { failures, openUntil: performance.now() + OPEN_MS })
  }
}
