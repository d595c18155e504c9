import { LRUCache } from 'lru-cache'
import { inBatches } from '#async'
import type { RedisConnection } from '#redis'
import { comparable } from '../floor.ts'
import { freeze } from '../freeze.ts'
import { type CacheStore, type Entry, FLOOR_TTL_MS, type Found, LEASE_MS } from './store.ts'

// An entry is one string: its token at full width (26 characters), when it goes stale (13 digits), and its JSON.
const TOKEN_LENGTH = 26
const HEAD_LENGTH = TOKEN_LENGTH + 1 + 13 + 1

/**
 * Looks that are asked at once. With more in a turn, Redis answers the first while this process hears the rest: of 16, 64 and 256 this
 * gave the most.
 */
const LOOKS_MAX = 64

/** 16 MiB of texts, and of what was read from them: most answers are the same text as the last for their key. */
const KNOWN_BYTES_MAX = 16 * 1024 * 1024

/** KEYS: entry, floor, lease. ARGV: lease in ms. Gives entry, floor, and whether the caller has the lease. */
const GET_OR_LEASE = `
  local entry = redis.call('get', KEYS[1])
  local floor = redis.call('get', KEYS[2])
  if entry and floor and string.sub(entry, 1, ${TOKEN_LENGTH}) < floor then entry = false end
  local leased = 0
  if not entry and redis.call('set', KEYS[3], '1', 'nx', 'px', ARGV[1]) then leased = 1 end
  return { entry, floor, leased }`

/** KEYS: entry, floor, lease. ARGV: entry, its life in ms. */
const PUT = `
  redis.call('del', KEYS[3])
  local floor = redis.call('get', KEYS[2])
  local token = string.sub(ARGV[1], 1, ${TOKEN_LENGTH})
  if floor and token < floor then return 0 end
  local before = redis.call('get', KEYS[1])
  if before and string.sub(before, 1, ${TOKEN_LENGTH}) > token then return 0 end
  redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
  return 1`

/** KEYS: floor. ARGV: the new floor, its life in ms. Floors arrive in any order. */
const RAISE = `
  local floor = redis.call('get', KEYS[1])
  if floor and floor > ARGV[1] then return 0 end
  redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
  return 1`

/** A cache that all processes share, in one server: the looks of one turn are one command, over whatever groups they are of. */
export function createRedisStore(connection: RedisConnection): CacheStore {
  // Most looks find something and need no script. Those of one turn are one command, which took a tenth off a cached read.
  const look = inBatches(LOOKS_MAX, async (places: string[][]) => {
    const keys = places.flatMap(([entry = '', floor = '']) => [entry, floor])
    const values = await connection.call((redis) => redis.mget(keys))
    return places.map((_, index) => [values[2 * index] ?? null, values[2 * index + 1] ?? null] as const)
  })
  const getOrLease = connection.script<[string | null, string | null, number]>('cacheGet', GET_OR_LEASE, 3)
  const put = connection.script<number>('cachePut', PUT, 3)
  const raise = connection.script<number>('cacheRaise', RAISE, 1)
  const keysOf = (group: string, key: string) => [
    `cache:{${group}}:${key}`,
    floorOf(group),
    `cache:{${group}}:${key}:lease`,
  ]
  const floorOf = (group: string) => `cache:{${group}}`
  const known = new LRUCache<string, { text: string; entry: Entry }>({
    maxSize: KNOWN_BYTES_MAX,
    // The object takes about twice as much as its text.
    sizeCalculation: ({ text }, key) => 3 * text.length + key.length + 200,
  })

  /** Reads a text once for as long as it stays the same. */
  function toEntry(key: string, text: string): Entry {
    const before = known.get(key)
    if (before?.text === text) return before.entry
    const entry = parse(text)
    known.set(key, { text, entry })
    return entry
  }

  function toFound(key: string, text: string | null, floor: string | null, leased: number): Found {
    const entry = text === null ? undefined : toEntry(key, text)
    return { entry, floor: floor ?? undefined, isLeased: leased === 1 }
  }

  return {
    async get({ key, group }, lease) {
      const keys = keysOf(group, key)
      const [text, floor] = await look(keys)
      const isThere = text !== null && (floor === null || text.slice(0, TOKEN_LENGTH) >= floor)
      if (isThere || !lease) return toFound(key, isThere ? text : null, floor, 0)
      return toFound(key, ...(await getOrLease(keys, [LEASE_MS])))
    },
    async put({ key, group }, { value, asOf, freshUntil }, ttlMs) {
      const text = `${comparable(asOf)} ${String(Math.round(freshUntil)).padStart(13, '0')} ${JSON.stringify(value)}`
      await put(keysOf(group, key), [text, ttlMs])
    },
    async release({ key, group }) {
      await connection.call((redis) => redis.del(keysOf(group, key)[2] ?? ''))
    },
    async invalidate(groups) {
      await Promise.all([...groups].map(([group, asOf]) => raise([floorOf(group)], [comparable(asOf), FLOOR_TTL_MS])))
    },
    close: connection.close,
  }
}

function parse(text: string): Entry {
  const value = JSON.parse(text.slice(HEAD_LENGTH))
  freeze(value)
  return {
    asOf: text.slice(0, TOKEN_LENGTH),
    freshUntil: Number(text.slice(TOKEN_LENGTH + 1, HEAD_LENGTH - 1)),
    value,
  }
}
