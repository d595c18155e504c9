import { LRUCache } from 'lru-cache'
import { comparable } from '../floor.ts'
import { freeze } from '../freeze.ts'
import { type CacheStore, type Entry, FLOOR_TTL_MS } from './store.ts'

/** 64 MiB of JSON: some 100,000 products. */
const BYTES_MAX = 64 * 1024 * 1024
const FLOORS_MAX = 200_000
/** Nobody tells this process what another changes in the database: so long it may go on with what it has, and half as long as if it were fresh. */
const LIFE_MAX_MS = 1_000

/** A cache in this process, for this process: it needs no leases, since loads are shared in it anyway. */
export function createMemoryStore(now: () => number = () => performance.now()): CacheStore {
  const perf = { now }
  const entries = new LRUCache<string, Entry>({
    maxSize: BYTES_MAX,
    // As JSON; an object takes about twice that, and 200 bytes for what is around it.
    sizeCalculation: ({ value }, key) => 2 * (JSON.stringify(value).length + key.length) + 200,
    ttl: FLOOR_TTL_MS,
    perf,
  })
  const floors = new LRUCache<string, string>({ max: FLOORS_MAX, ttl: FLOOR_TTL_MS, perf })
  const isAbove = (asOf: string, floor: string | undefined) => floor === undefined || comparable(asOf) >= floor
  return {
    get({ key, group }) {
      const entry = entries.get(key)
      const floor = floors.get(group)
      return { entry: entry && isAbove(entry.asOf, floor) ? entry : undefined, floor, isLeased: true }
    },
    put({ key, group }, entry, ttlMs) {
      if (!isAbove(entry.asOf, floors.get(group))) return
      const freshUntil = Math.min(entry.freshUntil, Date.now() + LIFE_MAX_MS * (0.4 + Math.random() * 0.2))
      // Whoever finds it gets this very value.
      freeze(entry.value)
      entries.set(key, { ...entry, freshUntil }, { ttl: Math.min(ttlMs, LIFE_MAX_MS) })
    },
    release() {},
    invalidate(groups) {
      for (const [group, asOf] of groups) {
        if (isAbove(asOf, floors.get(group))) floors.set(group, comparable(asOf))
      }
    },
    close() {
      entries.clear()
      floors.clear()
    },
  }
}
