import { comparable } from './floor.ts'
import type { RedisConnection } from './redis.ts'
import { type CacheStore, FLOOR_TTL_MS, LEASE_MS } from './store.ts'

// An entry is one string: its token at full width (26 characters), when it goes stale (13 digits), and its JSON.
const TOKEN_LENGTH = 26
const HEAD_LENGTH = TOKEN_LENGTH + 1 + 13 + 1

/** KEYS: entry, floor, lease. ARGV: lease in ms, 0 for none. Gives entry, floor, and whether the caller has the lease. */
const GET = `
  local entry = redis.call('get', KEYS[1])
  local floor = redis.call('get', KEYS[2])
  if entry and floor and string.sub(entry, 1, ${TOKEN_LENGTH}) < floor then entry = false end
  local leased = 0
  if not entry and tonumber(ARGV[1]) > 0 and redis.call('set', KEYS[3], '1', 'nx', 'px', ARGV[1]) then leased = 1 end
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

/** A cache that all processes share. Everything about a group has its name in braces, so it is at one node of a Redis cluster. */
export function createRedisStore(connection: RedisConnection): CacheStore {
  const get = connection.script<[string | null, string | null, number]>('cacheGet', GET, 3)
  const put = connection.script<number>('cachePut', PUT, 3)
  const raise = connection.script<number>('cacheRaise', RAISE, 1)
  const keysOf = (group: string, key: string) => [
    `cache:{${group}}:${key}`,
    floorOf(group),
    `cache:{${group}}:${key}:lease`,
  ]
  const floorOf = (group: string) => `cache:{${group}}`
  return {
    async get({ key, group }, lease) {
      const [text, floor, leased] = await get(keysOf(group, key), [lease ? LEASE_MS : 0])
      return { entry: text === null ? undefined : parse(text), floor: floor ?? undefined, isLeased: leased === 1 }
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

function parse(text: string) {
  return {
    asOf: text.slice(0, TOKEN_LENGTH),
    freshUntil: Number(text.slice(TOKEN_LENGTH + 1, HEAD_LENGTH - 1)),
    value: JSON.parse(text.slice(HEAD_LENGTH)),
  }
}
