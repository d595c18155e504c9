import * as z from 'zod'
import { readConfig } from '#config'

const settingsSchema = z.object({
  JOBS_URL: z
    .string()
    .default('postgres:')
    .refine(
      (url) => url === 'postgres:',
      'must be postgres: (the queue in the database), the only one there is so far',
    ),
})

/** Throws a ConfigError for jobs that are to be queued anywhere but in the database. */
export function checkJobsSettings(): void {
  readConfig(settingsSchema)
}
