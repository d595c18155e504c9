import * as z from 'zod'
import { defineSettings } from '#config'

const settingsSchema = z.object({
  /** 1: only the API key that made a reservation, or an admin key, sees and changes it. 0: any key with the scope does. */
  API_KEYS_OWN_RESERVATIONS: z.enum(['0', '1'], 'must be 0 or 1').default('0'),
})

/** Whether a reservation belongs to the key that made it. Throws a ConfigError. */
export const keysOwnReservations = defineSettings(
  settingsSchema,
  (settings) => settings.API_KEYS_OWN_RESERVATIONS === '1',
)
