import * as z from 'zod'
import { readConfig } from '#config'

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

/** Throws a ConfigError. */
export function cacheSettings(): z.infer<typeof settingsSchema> {
  return readConfig(settingsSchema)
}
