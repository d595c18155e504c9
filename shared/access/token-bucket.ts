import { LRUCache } from 'lru-cache'
import { onShutdown } from '#async'
import { cacheSettings, connectRedis, type RedisConnection } from '#redis'
import { counter } from '#telemetry'

/** Tokens return at a rate, up to a number that may be spent at once. */
export interface BucketSize {
  ratePerSecond: number
  burst: number
}

/** The result of taking a token. */
export interface RateLimitResult {
  isAllowed: boolean
  /** Whole tokens left. */
  remaining: number
  /** Seconds until the bucket is full again. */
  fullAfterSeconds: number
  /** Seconds until there is a token; 0 if there is one now. */
  tokenAfterSeconds: number
}

export interface TokenBuckets {
  /** Takes a token from the bucket with this name, if it has one. An unknown bucket is full. */
  take: (name: string, size: BucketSize) => Promise<RateLimitResult> | RateLimitResult
  close: () => Promise<void> | void
}

/** The most buckets in one process. Beyond that, the least recently used are forgotten, which refills them. */
const BUCKETS_MAX = 100_000

/** Token buckets in this process. https://en.wikipedia.org/wiki/Token_bucket */
export function createMemoryBuckets(now: () => number = () => performance.now()): TokenBuckets {
  const buckets = new LRUCache<string, { tokens: number; at: number }>({ max: BUCKETS_MAX })
  return {
    take(name, size) {
      const at = now()
      const before = buckets.get(name) ?? { tokens: size.burst, at }
      const tokens = Math.min(size.burst, before.tokens + ((at - before.at) / 1_000) * size.ratePerSecond)
      const isAllowed = tokens >= 1
      const left = isAllowed ? tokens - 1 : tokens
      // An empty bucket is not written: it fills with time.
      if (left < tokens) buckets.set(name, { tokens: left, at })
      return toRateLimitResult(isAllowed, left, size)
    },
    close: () => buckets.clear(),
  }
}

/** KEYS: bucket. ARGV: tokens per second, most tokens. Returns whether there was a token, and what is left, by Redis's clock. */
const TAKE = `
  local time = redis.call('time')
  local now = time[1] * 1000 + time[2] / 1000
  local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
  local bucket = redis.call('hmget', KEYS[1], 'tokens', 'at')
  local tokens = tonumber(bucket[1]) or burst
  local at = tonumber(bucket[2]) or now
  tokens = math.min(burst, tokens + math.max(0, now - at) / 1000 * rate)
  local allowed = tokens >= 1 and 1 or 0
  local left = string.format('%.17g', tokens - allowed)
  -- An empty bucket is left as it is: it fills with time. Where the clock was set back, it would not do so until then.
  if allowed > 0 or at > now then
    redis.call('hset', KEYS[1], 'tokens', left, 'at', string.format('%.17g', now))
    -- By then it is full, as an unknown bucket is.
    redis.call('pexpire', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
  end
  return { allowed, left }`

/** Token buckets that all processes share. */
export function createRedisBuckets(connection: RedisConnection): TokenBuckets {
  const take = connection.script<[number, string]>('bucketTake', TAKE, 1)
  return {
    async take(name, size) {
      const [allowed, left] = await take([`bucket:${name}`], [size.ratePerSecond, size.burst])
      return toRateLimitResult(allowed === 1, Number(left), size)
    },
    close: connection.close,
  }
}

function toRateLimitResult(isAllowed: boolean, tokens: number, { ratePerSecond, burst }: BucketSize): RateLimitResult {
  return {
    isAllowed,
    remaining: Math.floor(tokens),
    fullAfterSeconds: (burst - tokens) / ratePerSecond,
    tokenAfterSeconds: Math.max(0, (1 - tokens) / ratePerSecond),
  }
}

const local = counter('rate_limit_local_total', 'Requests counted in this process because Redis did not answer.')

let opened: { shared: TokenBuckets | undefined; own: TokenBuckets } | undefined

/**
 * Takes a token from a bucket in Redis that all processes share. Without Redis, or while it does not answer, takes it from a bucket of this
 * process.
 */
export function takeToken(name: string, size: BucketSize): Promise<RateLimitResult> | RateLimitResult {
  opened ??= open()
  const { shared, own } = opened
  return shared ? takeShared(shared, own, name, size) : own.take(name, size)
}

async function takeShared(
  shared: TokenBuckets,
  own: TokenBuckets,
  ...request: Parameters<TokenBuckets['take']>
): Promise<RateLimitResult> {
  try {
    return await shared.take(...request)
  } catch {
    local.inc()
    return own.take(...request)
  }
}

function open() {
  const { CACHE_URL } = cacheSettings()
  onShutdown(closeBuckets)
  const isShared = CACHE_URL !== undefined && CACHE_URL !== 'memory:'
  // A separate connection, so that a token never waits behind a cached product of 100 kB.
  return { shared: isShared ? createRedisBuckets(connectRedis(CACHE_URL)) : undefined, own: createMemoryBuckets() }
}

export async function closeBuckets(): Promise<void> {
  const closing = opened?.shared?.close()
  opened = undefined
  await closing
}
