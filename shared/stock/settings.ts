import * as z from 'zod'
import { integerSetting, readConfig } from '#config'

const settingsSchema = z.object({
  /** A hold that is extended again and again ends this long after it was made. At most ten years. */
  RESERVATION_LIFE_MAX_SECONDS: integerSetting({ min: 5, max: 315_360_000, default: 604_800 }),
})

let lifeMaxSeconds: number | undefined

/** How long a reservation may hold, from its creation. Read once. Throws a ConfigError. */
export function holdLifeMaxSeconds(): number {
  lifeMaxSeconds ??= readConfig(settingsSchema).RESERVATION_LIFE_MAX_SECONDS
  return lifeMaxSeconds
}

/** For tests that change the setting. */
export function forgetHoldLife(): void {
  lifeMaxSeconds = undefined
}
