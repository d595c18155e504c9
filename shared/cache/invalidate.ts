import { counter, gauge, logger } from '#telemetry'
import { later } from './floor.ts'
import { openStore } from './open-store.ts'
import { FLOOR_TTL_MS } from './store.ts'

/** Groups that may wait to be invalidated while the cache does not answer. Past it, entries live as long as they live. */
const PENDING_MAX = 100_000
const RETRY_MS = 250

const dropped = counter('cache_invalidations_dropped_total', 'Invalidations given up: the cache was away for too long.')
const pendingGroups = gauge('cache_invalidations_pending', 'Groups that wait to be invalidated.', [], observePending)

function observePending(): void {
  pendingGroups.set(pending.size)
}

/** The token to invalidate each group with, and since when it waits. */
const pending = new Map<string, { asOf: string; since: number }>()
let isSending = false

/**
 * Makes sure that nothing of these groups is served any more that is older than the token `asOf`: that of the commit which changed
 * them. It is done at once in this process's own cache, and shortly in a shared one; while that does not answer, it is tried
 * again until no older entry can be left. Whoever brings a token does not depend on it.
 */
export function invalidate(groups: Iterable<string>, asOf: string): void {
  const store = openStore()
  if (!store) return
  const since = performance.now()
  for (const group of groups) {
    const waiting = pending.get(group)
    if (!waiting && pending.size >= PENDING_MAX) dropped.inc()
    else pending.set(group, { asOf: later(waiting?.asOf, asOf) ?? asOf, since })
  }
  if (!isSending) void send()
}

/** One bunch at a time: what comes meanwhile, however often, is the next. */
async function send(): Promise<void> {
  isSending = true
  while (pending.size > 0) {
    const batch = new Map([...pending].map(([group, { asOf }]) => [group, asOf]))
    const sent = new Map(pending)
    pending.clear()
    try {
      const sending = openStore()?.invalidate(batch)
      // A cache in this process is done already: its next reader must not come first.
      if (sending) await sending
    } catch (error) {
      logger().debug({ err: error }, 'the cache was not invalidated yet')
      const now = performance.now()
      for (const [group, { asOf, since }] of sent) {
        if (now - since > FLOOR_TTL_MS) dropped.inc()
        else pending.set(group, { asOf: later(pending.get(group)?.asOf, asOf) ?? asOf, since })
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref())
    }
  }
  isSending = false
}

export function forgetPending(): void {
  pending.clear()
}
