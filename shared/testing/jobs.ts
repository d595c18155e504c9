import { expect, vi } from 'vitest'
import { systemCaller } from '#database'
import { submitJob, work } from '#jobs'
import { sql } from './database.ts'

/** A job that was tried once, and has died of `error`; whatever else is queued dies with it. Gives its id. */
export async function deadJob(error = 'validation_failed: nonsense'): Promise<string> {
  const { id } = await submitJob({ type: 'export-stock', payload: {} }, systemCaller('api-key:test'))
  const worker = work({ queue: 'jobs', prefetch: 1, deliver: async () => ({ verdict: 'reject', error }) })
  await vi.waitFor(
    async () =>
      expect(await sql`select 1 from dead_letters where job_id = ${id} and redriven_at is null`).toHaveLength(1),
    { timeout: 10_000, interval: 10 },
  )
  await worker.stop()
  return id
}
