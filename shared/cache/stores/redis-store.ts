import { LRUCache } from 'lru-cache'
import { inBatches } from '#async'
import type { RedisConnection } from '#redis'
import { freeze } from '../freeze.ts'
import { comparable } from '../token-order.ts'
import { type CacheStore, type Entry, type Found, LEASE_MS, WATERMARK_TTL_MS } from './store.ts'

// An entry is one string: its token at full width (26 characters), the time at which it goes stale (13 digits), and its JSON.
const TOKEN_LENGTH = 26
const HEAD_LENGTH = TOKEN_LENGTH + 1 + 13 + 1

/** Look-ups per command. With more look-ups in a turn, Redis answers one command while this process parses another: 64 was faster than 16 and 256. */
const LOOK_UPS_MAX = 64

/** 16 MiB of texts and the values parsed from them: most answers have the same text as the last answer for their key. */
const PARSED_BYTES_MAX = 16 * 1024 * 1024

/** KEYS: entry, watermark, lease. ARGV: lease in ms. Returns entry, watermark, and 1 if the caller gets the lease. */
const GET_OR_LEASE = `
  local entry = redis.call('get', KEYS[1])
  local watermark = redis.call('get', KEYS[2])
  if entry and watermark and string.sub(entry, 1, ${TOKEN_LENGTH}) < watermark then entry = false end
  local leased = 0
  if not entry and redis.call('set', KEYS[3], '1', 'nx', 'px', ARGV[1]) then leased = 1 end
  return { entry, watermark, leased }`

/** KEYS: entry, watermark, lease. ARGV: entry, its life in ms. */
const PUT = `
  redis.call('del', KEYS[3])
  local watermark = redis.call('get', KEYS[2])
  local token = string.sub(ARGV[1], 1, ${TOKEN_LENGTH})
  if watermark and token < watermark then return 0 end
  local before = redis.call('get', KEYS[1])
  if before and string.sub(before, 1, ${TOKEN_LENGTH}) > token then return 0 end
  redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
  return 1`

/** KEYS: watermark. ARGV: the new watermark, its life in ms. Watermarks arrive in any order. */
const RAISE = `
  local watermark = redis.call('get', KEYS[1])
  if watermark and watermark > ARGV[1] then return 0 end
  redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
  return 1`

/** A cache that all processes share, in one Redis server. The look-ups of one turn of the event loop are sent as one command. */
export function createRedisStore(connection: RedisConnection): CacheStore {
  // Most look-ups find an entry, and need no script. One command per turn took a tenth off a cached read.
  const lookUp = inBatches({ max: LOOK_UPS_MAX }, async (entries: string[][]) => {
    const keys = entries.flatMap(([entry = '', watermark = '']) => [entry, watermark])
    const values = await connection.call('mget', (redis) => redis.mget(keys))
    return entries.map((_, index) => [values[2 * index] ?? null, values[2 * index + 1] ?? null] as const)
  })
  const getOrLease = connection.script<[string | null, string | null, number]>('cacheGet', GET_OR_LEASE, 3)
  const put = connection.script<number>('cachePut', PUT, 3)
  const raise = connection.script<number>('cacheRaise', RAISE, 1)
  const keysOf = (group: string, key: string) => [
    `cache:{${group}}:${key}`,
    watermarkOf(group),
    `cache:{${group}}:${key}:lease`,
  ]
  const watermarkOf = (group: string) => `cache:{${group}}`
  const parsed = new LRUCache<string, { text: string; entry: Entry }>({
    maxSize: PARSED_BYTES_MAX,
    // A parsed value takes about twice as much as its text.
    sizeCalculation: ({ text }, key) => 3 * text.length + key.length + 200,
  })

  /** Parses a text again only if it has changed. */
  function toEntry(key: string, text: string): Entry {
    const before = parsed.get(key)
    if (before?.text === text) return before.entry
    const entry = parse(text)
    parsed.set(key, { text, entry })
    return entry
  }

  function toFound(key: string, text: string | null, watermark: string | null, leased: number): Found {
    const entry = text === null ? undefined : toEntry(key, text)
    return { entry, watermark: watermark ?? undefined, isLeased: leased === 1 }
  }

  return {
    async get({ key, group }, lease) {
      const keys = keysOf(group, key)
      const [text, watermark] = await lookUp(keys)
      const isThere = text !== null && (watermark === null || text.slice(0, TOKEN_LENGTH) >= watermark)
      if (isThere || !lease) return toFound(key, isThere ? text : null, watermark, 0)
      return toFound(key, ...(await getOrLease(keys, [LEASE_MS])))
    },
    async put({ key, group }, { value, asOf, freshUntil }, ttlMs) {
      const text = `${comparable(asOf)} ${String(Math.round(freshUntil)).padStart(13, '0')} ${JSON.stringify(value)}`
      await put(keysOf(group, key), [text, ttlMs])
    },
    async release({ key, group }) {
      await connection.call('del', (redis) => redis.del(keysOf(group, key)[2] ?? ''))
    },
    async invalidate(watermarks) {
      await Promise.all(
        [...watermarks].map(([group, asOf]) => raise([watermarkOf(group)], [comparable(asOf), WATERMARK_TTL_MS])),
      )
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
