import * as z from 'zod'
import { readConfig } from '#config'

const settingsSchema = z.object({
  /** 1: a reservation is the API key's that made it, or an admin's, to see and to change. 0: any key's with the scope. */
  API_KEYS_OWN_RESERVATIONS: z.enum(['0', '1'], 'must be 0 or 1').default('0'),
})

let isOwned: boolean | undefined

/** Whether a reservation belongs to the key that made it. Read once. Throws a ConfigError: call it at the start, to fail then rather than later. */
export function keysOwnReservations(): boolean {
  isOwned ??= readConfig(settingsSchema).API_KEYS_OWN_RESERVATIONS === '1'
  return isOwned
}

/** For tests that change the setting. */
export function forgetOwnership(): void {
  isOwned = undefined
}
