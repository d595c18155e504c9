import { onShutdown } from '#async'
import { counter, gauge, logger } from '#telemetry'
import { later } from './floor.ts'
import { openStore } from './stores/open-store.ts'
import { FLOOR_TTL_MS } from './stores/store.ts'

/** Groups that may wait to be invalidated while the cache does not answer. Past it, entries live as long as they live. */
const PENDING_MAX = 100_000
const RETRY_MS = 250
const FLUSH_MAX_MS = 500
const FLUSH_POLL_MS = 10
/** Groups in one turn: a change of a thousand products must not keep the process from everything else. */
const BUNCH_MAX = 500

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
  for (const group of groups) keep(group, asOf, since)
  if (isSending) return
  // After the store has registered: what waits is sent before it is closed.
  onShutdown(flushInvalidations)
  void send()
}

/** One bunch at a time: what comes meanwhile, however often, is the next. */
async function send(): Promise<void> {
  isSending = true
  while (pending.size > 0) {
    const bunch = new Map([...pending].slice(0, BUNCH_MAX))
    for (const group of bunch.keys()) pending.delete(group)
    try {
      const sending = openStore()?.invalidate(new Map(Array.from(bunch, ([group, { asOf }]) => [group, asOf])))
      // A cache in this process is done already: its next reader must not come first.
      if (sending) await sending
    } catch (error) {
      logger().debug({ err: error }, 'the cache was not invalidated yet')
      for (const [group, { asOf, since }] of bunch) keep(group, asOf, since)
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref())
    }
  }
  isSending = false
}

/** Has a group wait, unless no entry can be left that is older than its change. */
function keep(group: string, asOf: string, since: number): void {
  const waiting = pending.get(group)
  const isOver = performance.now() - since > FLOOR_TTL_MS
  if (!waiting && (isOver || pending.size >= PENDING_MAX)) dropped.inc()
  else pending.set(group, { asOf: later(waiting?.asOf, asOf) ?? asOf, since: Math.max(since, waiting?.since ?? 0) })
}

/** Lets go what waits, for half a second at most: the process is about to end, and forgets the rest. */
export async function flushInvalidations(): Promise<void> {
  for (let waitedMs = 0; isSending && waitedMs < FLUSH_MAX_MS; waitedMs += FLUSH_POLL_MS) {
    await new Promise((resolve) => setTimeout(resolve, FLUSH_POLL_MS))
  }
  pending.clear()
}
