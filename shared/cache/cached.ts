import { type RequestContext, read, readAsOf, type Sql } from '#database'
import { counter, tracing } from '#telemetry'
import { lookUp, waitForOthers } from './look-up.ts'
import { type CacheOptions, isLoading, isMissing, type Load, shareLoad } from './shared-loads.ts'
import { openStore } from './stores/open-store.ts'
import type { CacheStore } from './stores/store.ts'
import { isOnLaterTimeline, reaches } from './token-order.ts'

const requests = counter('cache_requests_total', 'Reads through the cache, by outcome.', ['cache', 'outcome'])

/**
 * Reads the result of `query` through the cache: a value that JSON can hold, or null for a thing that does not exist. A request with a token never
 * gets a value that may be older than the token. Readers of one key share a query, within a process and, while the cache answers, across processes.
 * Throws what `read` throws, and nothing else.
 *
 * @example
 * const place = { name: 'products', key: `product:${id}`, group: `product:${id}`, freshMs: 10_000 }
 * const product = await cached(place, context, (sql) => findProduct(sql, id))
 */
export function cached<Value>(
  options: CacheOptions,
  context: RequestContext,
  query: (sql: Sql) => Promise<Value>,
): Promise<Value> {
  const store = openStore()
  if (!store) return read(context, query, isMissing)
  return throughCache(store, options, context, (by) => readAsOf(by, query, isMissing))
}

/** The same with any load. The load gets a context whose token says how new the value must be. */
export async function throughCache<Value>(
  store: CacheStore,
  options: CacheOptions,
  context: RequestContext,
  load: Load<Value>,
): Promise<Value> {
  const { consistencyToken: token } = context.response
  const lookingUp = lookUp(store, options, token === undefined)
  // The store in this process answers at once, and most reads end here.
  const found = lookingUp instanceof Promise ? await lookingUp : lookingUp
  const { entry, watermark } = found
  if (entry && (token === undefined || reaches(entry.asOf, token))) {
    const isFresh = Date.now() < entry.freshUntil
    count(options.name, isFresh ? 'hit' : 'stale')
    // A reader that gets the stale value does not wait for the new one, and does not fail with it.
    if (!isFresh) shareLoad(store, options, context, { watermark }, load).catch(() => {})
    return entry.value as Value
  }
  count(options.name, entry ? 'too_old' : 'miss')
  if (token === undefined && !found.isLeased && !isLoading(options.key)) {
    const others = await waitForOthers(store, options)
    if (others) return others.value as Value
  }
  const { result, asOf } = await shareLoad(store, options, context, { token, watermark }, load)
  // A token from before a fail-over keeps reads away from the cache and the replicas. The new token does not.
  if (token !== undefined && isOnLaterTimeline(asOf, token)) context.response.consistencyToken = asOf
  return result as Value
}

function count(cache: string, outcome: string): void {
  requests.inc({ cache, outcome })
  tracing()?.current()?.addEvent('cache', { 'cache.name': cache, 'cache.outcome': outcome })
}
