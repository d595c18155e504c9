import { onShutdown } from '#async'
import { counter, gauge, logger } from '#telemetry'
import { openStore } from './stores/open-store.ts'
import { WATERMARK_TTL_MS } from './stores/store.ts'
import { later } from './token-order.ts'

/** Groups that may wait to be invalidated while the cache does not answer. Beyond this number, entries stay until they expire. */
const PENDING_MAX = 100_000
const RETRY_MS = 250
const FLUSH_MAX_MS = 500
const FLUSH_POLL_MS = 10
/** Groups per batch: a change of a thousand products must not block the event loop. */
const BATCH_MAX = 500

const dropped = counter(
  'cache_invalidations_dropped_total',
  'Invalidations dropped because the cache was away for too long.',
)
const pendingGroups = gauge('cache_invalidations_pending', 'Groups that wait to be invalidated.', [], observePending)

function observePending(): void {
  pendingGroups.set(pending.size)
}

/** The new watermark of each group, and since when it waits. */
const pending = new Map<string, { asOf: string; since: number }>()
let isSending = false

/**
 * Raises the watermark of these groups to the token `asOf` of the commit that changed them: older entries are no longer served. This takes effect
 * at once in this process's cache, and shortly after in Redis. While Redis does not answer, it is retried until older entries have expired.
 * Requests with a token do not depend on it.
 *
 * @example
 * afterCommit(tx, (token) => invalidate([`product:${id}`], token))
 */
export function invalidate(groups: Iterable<string>, asOf: string): void {
  const store = openStore()
  if (!store) return
  const since = performance.now()
  for (const group of groups) keep(group, asOf, since)
  if (isSending) return
  // Registered after the store, so that pending invalidations are sent before the store is closed.
  onShutdown(flushInvalidations)
  void send()
}

/** Sends one batch at a time. Invalidations that arrive meanwhile make up the next batch. */
async function send(): Promise<void> {
  isSending = true
  while (pending.size > 0) {
    const batch = new Map([...pending].slice(0, BATCH_MAX))
    for (const group of batch.keys()) pending.delete(group)
    try {
      const sending = openStore()?.invalidate(new Map(Array.from(batch, ([group, { asOf }]) => [group, asOf])))
      // The store of this process is synchronous: its next reader must already see the watermark.
      if (sending) await sending
    } catch (error) {
      logger().debug({ err: error }, 'could not invalidate the cache; it will try again')
      for (const [group, { asOf, since }] of batch) keep(group, asOf, since)
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref())
    }
  }
  isSending = false
}

/** Queues a group, unless all entries older than its change have expired. */
function keep(group: string, asOf: string, since: number): void {
  const waiting = pending.get(group)
  const isOver = performance.now() - since > WATERMARK_TTL_MS
  if (!waiting && (isOver || pending.size >= PENDING_MAX)) dropped.inc()
  else pending.set(group, { asOf: later(waiting?.asOf, asOf) ?? asOf, since: Math.max(since, waiting?.since ?? 0) })
}

/** Waits for pending invalidations, at most half a second, and drops the rest: the process is about to end. */
export async function flushInvalidations(): Promise<void> {
  for (let waitedMs = 0; isSending && waitedMs < FLUSH_MAX_MS; waitedMs += FLUSH_POLL_MS) {
    await new Promise((resolve) => setTimeout(resolve, FLUSH_POLL_MS))
  }
  pending.clear()
}
