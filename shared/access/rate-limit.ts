import * as z from 'zod'
import { defineSettings, integerSetting } from '#config'
import { ServiceError } from '#errors'
import { counter, tracing } from '#telemetry'
import { type BucketSize, type RateLimitResult, takeToken } from './token-bucket.ts'

const settingsSchema = z.object({
  /** Requests per second of each API key; twice as many at once. 0: no limit. */
  RATE_LIMIT: integerSetting({ min: 0, max: 1_000_000, default: 1_000 }),
})

interface Limits {
  keys: BucketSize | undefined
  /** The value of `RateLimit-Policy`. */
  policy: string
}

/** Throws a ConfigError. */
export const rateLimits = defineSettings(settingsSchema, ({ RATE_LIMIT: rate }): Limits => {
  const keys = rate === 0 ? undefined : { ratePerSecond: rate, burst: 2 * rate }
  // The quota is a full bucket, and the window is the time in which an empty bucket fills up.
  return { keys, policy: `"default";q=${2 * rate};w=2` }
})

/**
 * Counts a request of an API key. Returns what the key has left, or undefined if there is no limit. It does not throw for a request over the limit,
 * since the headers of the refusal need the result.
 */
export function countRequest(apiKeyId: string): Promise<RateLimitResult> | RateLimitResult | undefined {
  const { keys } = rateLimits()
  return keys && takeToken(`key ${apiKeyId}`, keys)
}

const requests = counter(
  'rate_limit_requests_total',
  'Requests by what their API key’s rate limit said: allowed or refused.',
  ['outcome'],
)

/** Throws `rate_limited` if the counted request was over the limit. */
export function requireToken({ isAllowed, tokenAfterSeconds }: RateLimitResult): void {
  const outcome = isAllowed ? 'allowed' : 'refused'
  requests.inc({ outcome })
  tracing()?.current()?.addEvent('rate_limit', { 'rate_limit.outcome': outcome })
  if (isAllowed) return
  throw new ServiceError('rate_limited', 'This API key has sent too many requests. Slow down.', {
    retryAfterSeconds: tokenAfterSeconds,
  })
}

/** The headers of https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ */
export function rateLimitHeaders(result: RateLimitResult | undefined): Record<string, string> {
  if (!result) return {}
  const { remaining, fullAfterSeconds } = result
  return {
    'ratelimit-policy': rateLimits().policy,
    ratelimit: `"default";r=${remaining};t=${Math.ceil(fullAfterSeconds)}`,
  }
}
