import type { HttpBindings } from '@hono/node-server'
import { ServiceError } from '#errors'
import { originOf } from './address.ts'
import { type Identity, identify } from './identify.ts'

/** Identifies a request's API key by its `Authorization` header. Throws `unauthenticated`. */
export function authenticate(
  header: string | null,
  incoming: HttpBindings['incoming'] | undefined,
): Identity | Promise<Identity> {
  const key = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(header ?? '')?.[1]
  const identity = key === undefined ? undefined : identify(key, () => originOf(incoming))
  return identity instanceof Promise ? identity.then(requireIdentity) : requireIdentity(identity)
}

function requireIdentity(identity: Identity | undefined): Identity {
  if (identity) return identity
  throw new ServiceError(
    'unauthenticated',
    'Send an API key as `Authorization: Bearer <key>`; this request had none that is valid.',
  )
}
