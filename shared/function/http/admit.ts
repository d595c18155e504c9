import type { Identity, Withdrawal } from '#access'
import { authenticate, countRequest, requireToken } from '#access'
import { withTimeout } from '#async'
import { late } from './admission.ts'
import type { Exchange } from './http-response.ts'

/**
 * Who asks, if they may now: at once for a key that is known here. It takes no place of the function's: to look for a key is bounded by
 * itself, and guesses must not take the places of those who are known. Throws `unauthenticated`, `rate_limited`, or `overloaded` where
 * the look takes longer than `timeoutMs`.
 */
export function admit(exchange: Exchange, timeoutMs: number): Identity | Promise<Identity> {
  const checked = (identity: Identity, withdrawal: Withdrawal | undefined) => {
    exchange.withdrawal = withdrawal
    if (withdrawal) requireToken(withdrawal)
    return identity
  }
  const counted = (identity: Identity) => {
    const withdrawal = countRequest(identity.apiKeyId)
    return withdrawal instanceof Promise
      ? withdrawal.then((taken) => checked(identity, taken))
      : checked(identity, withdrawal)
  }
  const identity = authenticate(exchange.headers.get('authorization'), exchange.http?.incoming)
  if (!(identity instanceof Promise)) return counted(identity)
  return withTimeout(timeoutMs, identity, () => late(timeoutMs)).then(counted)
}
