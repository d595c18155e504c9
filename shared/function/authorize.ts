import { ServiceError } from '#errors'
import { type Identity, identify } from './identify.ts'
import type { Gate } from './rate-limit.ts'

/** Who asks, by the `Authorization` header. A key that is not known here is looked for behind the gate. Throws `unauthenticated`. */
export function authenticate(header: string | null, gate: Gate): Identity | Promise<Identity> {
  const key = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(header ?? '')?.[1]
  const identity = key === undefined ? undefined : identify(key, gate)
  return identity instanceof Promise ? identity.then(requireIdentity) : requireIdentity(identity)
}

function requireIdentity(identity: Identity | undefined): Identity {
  if (identity) return identity
  throw new ServiceError(
    'unauthenticated',
    'Send an API key as `Authorization: Bearer <key>`; this request had none that is valid.',
  )
}
