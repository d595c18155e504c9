import * as z from 'zod'
import { defineSettings, integerSetting } from '#config'

const settingsSchema = z.object({
  /** The longest that a hold can last from its creation, in seconds, including all extensions. At most ten years. */
  RESERVATION_LIFE_MAX_SECONDS: integerSetting({ min: 5, max: 315_360_000, default: 604_800 }),
})

/** The longest that a reservation may hold stock, in seconds from its creation. Throws a ConfigError. */
export const holdLifeMaxSeconds = defineSettings(settingsSchema, (settings) => settings.RESERVATION_LIFE_MAX_SECONDS)
