import { LRUCache } from 'lru-cache'
import { freeze } from '../freeze.ts'
import { comparable } from '../token-order.ts'
import { type CacheStore, type Entry, WATERMARK_TTL_MS } from './store.ts'

/** 64 MiB of JSON: some 100,000 products. */
const BYTES_MAX = 64 * 1024 * 1024
const WATERMARKS_MAX = 200_000
/** Changes by other processes do not invalidate this store. So an entry lives for this time only, and is fresh for half of it. */
const LIFE_MAX_MS = 1_000

/** A cache in this process, for this process only. It needs no leases, because a process shares its loads anyway. */
export function createMemoryStore(now: () => number = () => performance.now()): CacheStore {
  const perf = { now }
  const entries = new LRUCache<string, Entry>({
    maxSize: BYTES_MAX,
    // By the size of the JSON: an object takes about twice that, and an entry 200 bytes.
    sizeCalculation: ({ value }, key) => 2 * (JSON.stringify(value).length + key.length) + 200,
    ttl: WATERMARK_TTL_MS,
    perf,
  })
  const watermarks = new LRUCache<string, string>({ max: WATERMARKS_MAX, ttl: WATERMARK_TTL_MS, perf })
  const isCurrent = (asOf: string, watermark: string | undefined) =>
    watermark === undefined || comparable(asOf) >= watermark
  return {
    get({ key, group }) {
      const entry = entries.get(key)
      const watermark = watermarks.get(group)
      return { entry: entry && isCurrent(entry.asOf, watermark) ? entry : undefined, watermark, isLeased: true }
    },
    put({ key, group }, entry, ttlMs) {
      if (!isCurrent(entry.asOf, watermarks.get(group))) return
      const freshUntil = Math.min(entry.freshUntil, Date.now() + LIFE_MAX_MS * (0.4 + Math.random() * 0.2))
      // Readers get this same object.
      freeze(entry.value)
      entries.set(key, { ...entry, freshUntil }, { ttl: Math.min(ttlMs, LIFE_MAX_MS) })
    },
    release() {},
    invalidate(raised) {
      for (const [group, asOf] of raised) {
        if (isCurrent(asOf, watermarks.get(group))) watermarks.set(group, comparable(asOf))
      }
    },
    close() {
      entries.clear()
      watermarks.clear()
    },
  }
}
