import * as z from 'zod'
import { defineSettings, integerSetting } from '#config'
import { ServiceError } from '#errors'
import { type BucketSize, takeToken, type Withdrawal } from './token-bucket.ts'

const settingsSchema = z.object({
  /** Requests a second of each API key; twice as many at once. 0: no limit. */
  RATE_LIMIT: integerSetting({ min: 0, max: 1_000_000, default: 1_000 }),
})

interface Limits {
  keys: BucketSize | undefined
  /** The policy, as clients are told it. */
  policy: string
}

/** Throws a ConfigError. */
export const rateLimits = defineSettings(settingsSchema, ({ RATE_LIMIT: rate }): Limits => {
  const keys = rate === 0 ? undefined : { ratePerSecond: rate, burst: 2 * rate }
  // A full bucket is the quota, and the window the time in which an empty one fills up.
  return { keys, policy: `"default";q=${2 * rate};w=2` }
})

/**
 * Counts a request of an API key: what is left to it, or undefined where there is no limit. What is over the limit is not refused
 * here, since a refusal tells what is left as well.
 */
export function countRequest(apiKeyId: string): Promise<Withdrawal> | Withdrawal | undefined {
  const { keys } = rateLimits()
  return keys && takeToken(`key ${apiKeyId}`, keys)
}

/** Throws `rate_limited` if that request was over the limit. */
export function requireToken({ isAllowed, tokenAfterSeconds }: Withdrawal): void {
  if (isAllowed) return
  throw new ServiceError('rate_limited', 'This API key has sent too many requests. Slow down.', {
    retryAfterSeconds: tokenAfterSeconds,
  })
}

/** The headers of https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ */
export function rateLimitHeaders(withdrawal: Withdrawal | undefined): Record<string, string> {
  if (!withdrawal) return {}
  const { remaining, fullAfterSeconds } = withdrawal
  return {
    'ratelimit-policy': rateLimits().policy,
    ratelimit: `"default";r=${remaining};t=${Math.ceil(fullAfterSeconds)}`,
  }
}
