import { trustedProxies } from './address.ts'
import { keysOwnReservations } from './ownership.ts'
import { rateLimits } from './rate-limit.ts'

/** Reads the settings of this module, so that a process with one that is unfit fails at its start. Throws a ConfigError. */
export function checkAccessSettings(): void {
  trustedProxies()
  keysOwnReservations()
  rateLimits()
}
