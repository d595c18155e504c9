import * as z from 'zod'
import { defineSettings } from '#config'

const settingsSchema = z.object({
  /** `redis://` or `rediss://`; `memory:` for a service with one process, since other processes do not invalidate it; unset: no cache. */
  CACHE_URL: z
    .string()
    .refine(
      (url) => url === 'memory:' || (URL.canParse(url) && /^rediss?:$/.test(new URL(url).protocol)),
      'must be memory: or a redis:// URL',
    )
    .optional(),
})

/** The settings of this module. Throws a ConfigError. */
export const cacheSettings = defineSettings(settingsSchema)
