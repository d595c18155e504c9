import * as z from 'zod'
import { defineSettings } from '#config'

const settingsSchema = z.object({
  /**
   * `redis://` or `rediss://`; `memory:` for a service that is one process, since nobody tells this one what others change; unset:
   * nothing is cached.
   */
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
