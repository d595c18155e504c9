import * as z from 'zod'
import { readConfig } from '#config'

const settingsSchema = z.object({
  EVENTS_URL: z
    .string()
    .default('postgres:')
    .refine((url) => url === 'postgres:', 'must be postgres: (the log in the database), the only one there is so far'),
})

/** Throws a ConfigError for events that are to go anywhere but into the embedded log. */
export function checkEventsSettings(): void {
  readConfig(settingsSchema)
}
