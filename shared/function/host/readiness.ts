import { ServiceError } from '#errors'

/** Throws `not_ready` if any part fails. `failing` has the reason for each failing part, by the part's name. */
export function requireReady(failing: Record<string, string>): void {
  const names = Object.keys(failing)
  if (names.length === 0) return
  throw new ServiceError('not_ready', `Not ready: ${names.join(', ')}.`, { extra: { failing }, retryAfterSeconds: 1 })
}
