import { trustedProxies } from './address.ts'
import { keysOwnReservations } from './ownership.ts'
import { rateLimits } from './rate-limit.ts'

/** Reads this module's settings, so that a process fails at its start if one is invalid. Throws a ConfigError. */
export function checkAccessSettings(): void {
  trustedProxies()
  keysOwnReservations()
  rateLimits()
}
