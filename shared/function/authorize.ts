import { ServiceError } from '#errors'
import { type Identity, identify } from './api-keys.ts'
import type { Scope } from './definition.ts'

/** Who asks, by the `Authorization` header. Throws `unauthenticated`, or `forbidden` for a key without the scope. */
export async function authorize(header: string | null, scope: Scope): Promise<Identity> {
  const key = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(header ?? '')?.[1]
  const identity = key === undefined ? undefined : await identify(key)
  if (!identity) {
    throw new ServiceError(
      'unauthenticated',
      'Send an API key as `Authorization: Bearer <key>`; this request had none that is valid.',
    )
  }
  if (!identity.scopes.includes(scope) && !identity.scopes.includes('admin')) {
    throw new ServiceError('forbidden', `This API key lacks the scope ${scope}.`)
  }
  return identity
}
