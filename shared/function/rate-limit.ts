import type { HttpBindings } from '@hono/node-server'
import * as z from 'zod'
import { type BucketSize, takeToken, type Withdrawal } from '#cache'
import { integerSetting, readConfig } from '#config'
import { ServiceError } from '#errors'

const settingsSchema = z.object({
  /** Requests a second of each API key; twice as many at once. 0: no limit. */
  RATE_LIMIT: integerSetting({ min: 0, max: 1_000_000, default: 1_000 }),
  /** 1 where the last entry of X-Forwarded-For is the client: behind one proxy that writes it, such as the router. */
  TRUST_FORWARDED_FOR: z.enum(['0', '1']).default('0'),
})

/** Keys that are not valid, from one address: it bounds what guessing costs the database. */
const INVALID_KEYS: BucketSize = { ratePerSecond: 20, burst: 200 }

interface Limits {
  keys: BucketSize | undefined
  /** The policy, as clients are told it. */
  policy: string
  trustsForwardedFor: boolean
}

let limits: Limits | undefined

/** Reads the settings, once. Throws a ConfigError: call it at the start, to fail then rather than later. */
export function rateLimits(): Limits {
  if (limits) return limits
  const { RATE_LIMIT: rate, TRUST_FORWARDED_FOR } = readConfig(settingsSchema)
  const keys = rate === 0 ? undefined : { ratePerSecond: rate, burst: 2 * rate }
  // A full bucket is the quota, and the window the time in which an empty one fills up.
  const policy = `"default";q=${2 * rate};w=2`
  limits = { keys, policy, trustsForwardedFor: TRUST_FORWARDED_FOR === '1' }
  return limits
}

/** For tests that change the settings. */
export function forgetRateLimits(): void {
  limits = undefined
}

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

/** What stands between a client that guesses keys and the database. */
export interface Gate {
  /** Before a key is looked for. Throws `rate_limited` if too many that are not valid came from its address lately. */
  admit: () => Promise<void>
  /** After it was not found. */
  charge: () => Promise<void>
}

/** Where a request did not come over HTTP, or nothing is limited, the gate is open. */
export function gateFor(incoming: HttpBindings['incoming'] | undefined): Gate {
  const bucket = async (count: 0 | 1) => {
    const address = rateLimits().keys && addressOf(incoming)
    return address === undefined ? undefined : takeToken(`address ${networkOf(address)}`, INVALID_KEYS, count)
  }
  return {
    async admit() {
      const withdrawal = await bucket(0)
      if (!withdrawal || withdrawal.isAllowed) return
      throw new ServiceError('rate_limited', 'Too many API keys that are not valid came from this address.', {
        retryAfterSeconds: withdrawal.tokenAfterSeconds,
      })
    },
    async charge() {
      await bucket(1)
    },
  }
}

/** Of an IPv6 address the network, of which a single client has all addresses: https://www.rfc-editor.org/rfc/rfc6177 */
export function networkOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address
  const [head = '', tail = ''] = address.split('::')
  const groups = head.split(':').filter((group) => group !== '')
  const hidden = address.includes('::') ? 8 - groups.length - tail.split(':').filter((group) => group !== '').length : 0
  return [...groups, ...Array<string>(hidden).fill('0')].slice(0, 4).join(':')
}

/** Where a request comes from; undefined for one that did not come over HTTP. */
export function addressOf(incoming: HttpBindings['incoming'] | undefined): string | undefined {
  if (!incoming) return undefined
  const forwarded = rateLimits().trustsForwardedFor ? incoming.headers['x-forwarded-for'] : undefined
  // All but the last entry a client can make up.
  const last = forwarded?.toString().split(',').at(-1)?.trim()
  return last || incoming.socket.remoteAddress
}
