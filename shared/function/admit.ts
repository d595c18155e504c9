import type { Withdrawal } from '#cache'
import { authenticate } from './authorize.ts'
import type { Exchange } from './http-response.ts'
import type { Identity } from './identify.ts'
import { countRequest, requireToken } from './rate-limit.ts'

/** Who asks, if they may now: at once for a key that is known here. Throws `unauthenticated` or `rate_limited`. */
export function admit(exchange: Exchange): Identity | Promise<Identity> {
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
  return identity instanceof Promise ? identity.then(counted) : counted(identity)
}
