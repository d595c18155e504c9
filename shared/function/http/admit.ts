import type { Identity, RateLimitResult } from '#access'
import { authenticate, countRequest, requireToken } from '#access'
import { withTimeout } from '#async'
import { late } from './admission.ts'
import type { Exchange } from './http-response.ts'

/**
 * Authenticates a request and counts it. For a key that this process knows, it returns no promise. It takes none of the function's slots: look-ups
 * have a bound of their own, and invalid keys must not take slots from valid ones. Throws `unauthenticated`, `rate_limited`, or `overloaded` if the
 * look-up takes longer than `timeoutMs`.
 */
export function admit(exchange: Exchange, timeoutMs: number): Identity | Promise<Identity> {
  const checked = (identity: Identity, rateLimit: RateLimitResult | undefined) => {
    exchange.rateLimit = rateLimit
    if (rateLimit) requireToken(rateLimit)
    return identity
  }
  const counted = (identity: Identity) => {
    const rateLimit = countRequest(identity.apiKeyId)
    return rateLimit instanceof Promise
      ? rateLimit.then((result) => checked(identity, result))
      : checked(identity, rateLimit)
  }
  const identity = authenticate(exchange.headers.get('authorization'), exchange.http?.incoming)
  if (!(identity instanceof Promise)) return counted(identity)
  return withTimeout(timeoutMs, identity, () => late(timeoutMs)).then(counted)
}
