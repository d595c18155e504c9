import { expect, vi } from 'vitest'
import { systemContext } from '#database'
import { eventRequest } from '#function'
import { type JobRun, runner, submitJob, work } from '#jobs'
import { ImportPayload } from '#products/schema'
import { ExportPayload, VerifyPayload } from '#stock/schema'
import { DeliveryPayload } from '../../../shared/webhooks/delivery-payload.ts'
import { sql } from './engines/database.ts'
import { functionNamed } from './functions.ts'
import { call } from './http/call.ts'

/** Makes a job that is dead after one attempt, with `error`. All other queued jobs die too. Returns the id of the job. */
export async function deadJob(error = 'validation_failed: nonsense'): Promise<string> {
  const { id } = await submitJob({ type: 'export-stock', payload: { format: 'csv' } }, systemContext('api-key:test'))
  const worker = work({ queue: 'jobs', deliver: async () => ({ verdict: 'reject', error }) })
  await vi.waitFor(
    async () =>
      expect(await sql`select 1 from dead_letters where job_id = ${id} and redriven_at is null`).toHaveLength(1),
    { timeout: 10_000, interval: 10 },
  )
  await worker.stop()
  return id
}

/** Makes runners that do the same with the payload of every type of job. */
export function everyType(run: (payload: object, run: JobRun) => Promise<object>) {
  return {
    'deliver-webhook': runner(DeliveryPayload, run),
    'export-stock': runner(ExportPayload, run),
    'import-products': runner(ImportPayload, run),
    'verify-ledger': runner(VerifyPayload, run),
  }
}

/** Runs a job as its delivery would. Returns the answer's status, and its code if it failed. */
export async function runQueued(jobId: string): Promise<{ status: number; code?: string; detail?: string }> {
  const { app } = await functionNamed('process-job')
  const attributes = { id: crypto.randomUUID(), source: 'test', specversion: '1.0', type: 'job.due' } as const
  const response = await app.fetch(eventRequest(attributes, { jobId }))
  const { code, detail } = (await response.json()) as { code?: string; detail?: string }
  return { status: response.status, ...(code !== undefined && { code }), ...(detail !== undefined && { detail }) }
}

const contentTypes = { ndjson: 'application/x-ndjson', csv: 'text/csv' } as const

/** Uploads a file of products. Returns the id of its job, which has not run. */
export async function uploadProducts(format: keyof typeof contentTypes, body: string | Uint8Array): Promise<string> {
  const headers = { 'content-type': contentTypes[format] }
  return (await call(await functionNamed('import-products'), { body, headers })).body.id
}
